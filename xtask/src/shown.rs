//! Long programs whose progress a developer wants to see: builds, downloads, installations.

use std::io;
use std::os::fd::AsFd;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};
use log::Level;

/// Runs a program with all its output on stderr, so that stdout stays the answer; with `-q` only a failure shows.
pub fn run(command: &mut Command) -> Result<()> {
    log::debug!("running {}", kit::cmd::describe(command));
    if !log::log_enabled!(Level::Info) {
        return kit::cmd::run(command);
    }
    let stderr = io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate stderr")?;
    let status = command
        .stdin(Stdio::null())
        .stdout(Stdio::from(stderr))
        .stderr(Stdio::inherit())
        .status()
        .with_context(|| format!("cannot run {}", kit::cmd::describe(command)))?;
    if !status.success() {
        bail!("{} failed ({status})", kit::cmd::describe(command));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_an_error_that_names_the_program() {
        let error = run(Command::new("sh").args(["-c", "exit 3"])).unwrap_err();
        assert_eq!(error.to_string(), "\"sh\" \"-c\" \"exit 3\" failed (exit status: 3)");
    }
}
