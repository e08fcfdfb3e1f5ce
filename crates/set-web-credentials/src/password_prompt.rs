//! Reads the new password from a prompt or from standard input, where other programs cannot see it.

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result, bail};
use kit::{Secret, UsageError};

use crate::echo_off::EchoOff;
use crate::login_change;

/// Maximum size of the first line, in bytes; a longer one is the wrong file, not a password.
const MAX_BYTES: u64 = 64 * 1024;

/// Prompts twice on a terminal, because the input is not shown; otherwise reads the first line of standard input.
pub fn password(user: &str) -> Result<Secret> {
    if io::stdin().is_terminal() { prompt_twice(user) } else { first_line(io::stdin().lock()) }
}

fn prompt_twice(user: &str) -> Result<Secret> {
    let _echo_off = EchoOff::new()?;
    let ask = |prompt: String| rpassword::prompt_password(prompt).context("no password given");
    let password = validate(ask(format!("New password of {user}: "))?)?;
    let repeated = ask("Repeat the password: ".to_owned())?;
    if !password.matches(repeated.as_bytes()) {
        bail!("the passwords do not match; nothing was changed");
    }
    Ok(password)
}

/// Returns the first line without its line ending; the rest is not read.
fn first_line(input: impl BufRead) -> Result<Secret> {
    let mut line = Vec::new();
    input
        .take(MAX_BYTES)
        .read_until(b'\n', &mut line)
        .context("cannot read the password from standard input")?;
    if line.len() as u64 == MAX_BYTES {
        return Err(UsageError(format!("the password is longer than {MAX_BYTES} bytes")).into());
    }
    let line = String::from_utf8(line).map_err(|_| UsageError("the password is not UTF-8".to_owned()))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    validate(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// Returns a valid password, or a usage error that does not repeat it.
pub fn validate(text: String) -> Result<Secret> {
    login_change::password(text).map_err(|problem| UsageError(format!("the password {problem}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_without_its_ending_is_the_password() {
        for (input, password) in
            [("a b \n", "a b "), ("x\r\n", "x"), ("end of file", "end of file"), ("1\n2\n", "1")]
        {
            assert_eq!(first_line(input.as_bytes()).unwrap().expose(), password);
        }
    }

    #[test]
    fn an_error_does_not_repeat_the_password() {
        let long = "x".repeat(70_000);
        for (input, message) in [
            (&b""[..], "the password is empty"),
            (b"\nsecond", "the password is empty"),
            (b"secret\0\n", "the password contains control characters"),
            (b"secret\xff\n", "the password is not UTF-8"),
            (long.as_bytes(), "the password is longer than 65536 bytes"),
        ] {
            assert_eq!(first_line(input).unwrap_err().to_string(), message);
        }
    }
}
