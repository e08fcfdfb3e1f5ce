//! Runs programs that may hang, such as a client of a dead daemon, with a timeout.

use std::io::Read;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail};

/// Returns the program's stdout, trimmed, if it succeeds within `deadline`; at the deadline it is killed.
///
/// For short answers only: a program that writes more than a pipe holds (64 KiB) would wait for a reader.
pub fn stdout_within(command: &mut Command, deadline: Duration) -> Result<String> {
    let described = kit::cmd::describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {described}"))?;
    let ended = kit::wait::until(deadline, &described, || child.try_wait().transpose());
    let status = match ended {
        Ok(status) => status.with_context(|| format!("cannot wait for {described}"))?,
        Err(late) => {
            // Both fail only if the child has exited already.
            let _ = child.kill();
            let _ = child.wait();
            return Err(late);
        }
    };
    if !status.success() {
        bail!("{described} failed ({status})");
    }
    let mut text = String::new();
    if let Some(mut stdout) = child.stdout.take() {
        stdout.read_to_string(&mut text).with_context(|| format!("{described} did not print text"))?;
    }
    Ok(text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn an_answer_a_refusal_and_a_silence_differ() {
        let soon = Duration::from_secs(20);
        assert_eq!(stdout_within(Command::new("echo").arg("26.1"), soon).unwrap(), "26.1");
        assert!(
            stdout_within(&mut Command::new("false"), soon)
                .unwrap_err()
                .to_string()
                .contains("exit status: 1")
        );
        let started = Instant::now();
        let error = stdout_within(Command::new("sleep").arg("60"), Duration::from_millis(50)).unwrap_err();
        assert!(error.to_string().starts_with("timed out after"), "{error}");
        assert!(started.elapsed() < soon);
    }
}
