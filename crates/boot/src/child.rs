//! The tools that do a stage's work: their diagnostics go into the stage's own log.

use std::fs::{File, OpenOptions};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use kit::cmd;

use crate::stop;

/// Starts a tool with its standard output for us and its diagnostics at the end of `log`.
pub fn start(command: &mut Command, log: &Path) -> Result<Child> {
    let diagnostics = append_to(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(diagnostics);
    stop::spawn(command).with_context(|| format!("cannot run {}", cmd::describe(command)))
}

/// Opens a log for appending; a link in its place is refused.
pub fn append_to(log: &Path) -> Result<File> {
    OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(nix::libc::O_NOFOLLOW)
        .open(log)
        .with_context(|| format!("cannot open {}", log.display()))
}

/// How a tool ended that did not end well, in words.
pub fn in_words(tool: &str, status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(signal)) => format!("{tool} was ended by signal {signal}"),
        (Some(code), _) => format!("{tool} ended with exit code {code}"),
        _ => format!("{tool} ended: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_a_signal_are_told_apart() {
        assert_eq!(in_words("x", ExitStatus::from_raw(0x0200)), "x ended with exit code 2");
        assert_eq!(in_words("x", ExitStatus::from_raw(9)), "x was ended by signal 9");
    }

    #[test]
    fn diagnostics_are_appended_and_a_link_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("sync.log");
        for _ in 0..2 {
            let mut child = start(Command::new("sh").args(["-c", "echo said >&2"]), &log).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "said\nsaid\n");
        let link = dir.path().join("link.log");
        std::os::unix::fs::symlink(&log, &link).unwrap();
        assert!(start(&mut Command::new("true"), &link).is_err());
    }
}
