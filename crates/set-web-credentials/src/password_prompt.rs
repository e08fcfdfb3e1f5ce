//! The password from where nobody else can see it: a prompt, or standard input.

use std::io::{self, BufRead, IsTerminal};

use anyhow::{Context, Result, bail};
use kit::{Secret, UsageError};

use crate::echo_off::EchoOff;
use crate::login_change;

/// More is no password but the wrong file, in bytes.
const LONGEST: u64 = 64 * 1024;

/// Asks twice on a terminal, because nobody sees what they type; reads one line elsewhere.
pub fn password(user: &str) -> Result<Secret> {
    if io::stdin().is_terminal() { prompted(user) } else { first_line(io::stdin().lock()) }
}

fn prompted(user: &str) -> Result<Secret> {
    let _silence = EchoOff::new()?;
    let ask = |prompt: String| rpassword::prompt_password(prompt).context("no password was given");
    let password = validate(ask(format!("New password of {user}: "))?)?;
    let again = ask("The same again: ".to_owned())?;
    if !password.matches(again.as_bytes()) {
        bail!("the two passwords differ; nothing is changed");
    }
    Ok(password)
}

/// One line without its end; what follows it is not looked at.
fn first_line(input: impl BufRead) -> Result<Secret> {
    let mut line = Vec::new();
    input
        .take(LONGEST)
        .read_until(b'\n', &mut line)
        .context("cannot read the password from standard input")?;
    if line.len() as u64 == LONGEST {
        return Err(UsageError(format!("the password is longer than {LONGEST} bytes")).into());
    }
    let line =
        String::from_utf8(line).map_err(|_| UsageError("the password is not UTF-8 text".to_owned()))?;
    let line = line.strip_suffix('\n').unwrap_or(&line);
    validate(line.strip_suffix('\r').unwrap_or(line).to_owned())
}

/// A password that can be used, or a usage error that does not repeat it.
pub fn validate(text: String) -> Result<Secret> {
    login_change::password(text).map_err(|problem| UsageError(format!("the password {problem}")).into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_is_the_password_whatever_ends_it() {
        for (input, password) in
            [("a b \n", "a b "), ("x\r\n", "x"), ("end of file", "end of file"), ("1\n2\n", "1")]
        {
            assert_eq!(first_line(input.as_bytes()).unwrap().expose(), password);
        }
    }

    #[test]
    fn a_refusal_does_not_repeat_what_it_refuses() {
        let long = "x".repeat(70_000);
        for (input, said) in [
            (&b""[..], "the password is empty"),
            (b"\nsecond", "the password is empty"),
            (b"secret\0\n", "the password has control characters"),
            (b"secret\xff\n", "the password is not UTF-8 text"),
            (long.as_bytes(), "the password is longer than 65536 bytes"),
        ] {
            assert_eq!(first_line(input).unwrap_err().to_string(), said);
        }
    }
}
