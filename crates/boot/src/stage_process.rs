//! Processes of a stage: their diagnostics go to the stage's log.

use std::fs::File;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use kit::{cmd, process_limit, rotating_log};

use crate::shutdown;

/// Starts a tool; its standard output is captured, its diagnostics are appended to `log`.
pub fn spawn_logged(command: &mut Command, log: &Path) -> Result<Child> {
    let diagnostics = open_log(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(diagnostics);
    let child = shutdown::spawn(command).map_err(process_limit::explain);
    child.with_context(|| format!("cannot run {}", cmd::describe(command)))
}

/// Opens a log for appending. A link or a FIFO in its place is reported, and the output goes to this program's own log.
pub fn open_log(log: &Path) -> Result<File> {
    rotating_log::open_append(log).or_else(|error| {
        log::warn!("cannot write {}: {error}", log.display());
        let own = io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate a file descriptor")?;
        Ok(File::from(own))
    })
}

/// Describes the exit of a tool that failed.
pub fn describe_exit(tool: &str, status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (_, Some(signal)) => format!("{tool} was terminated by signal {signal}"),
        (Some(0), _) => format!("{tool} exited without a report"),
        (Some(code), _) => format!("{tool} failed with exit code {code}"),
        _ => format!("{tool} ended: {status}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_and_a_signal_are_distinguished() {
        assert_eq!(describe_exit("x", ExitStatus::from_raw(0)), "x exited without a report");
        assert_eq!(describe_exit("x", ExitStatus::from_raw(0x0200)), "x failed with exit code 2");
        assert_eq!(describe_exit("x", ExitStatus::from_raw(9)), "x was terminated by signal 9");
    }

    #[test]
    fn diagnostics_are_appended_and_never_through_a_link_or_a_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("sync.log");
        for _ in 0..2 {
            let mut child = spawn_logged(Command::new("sh").args(["-c", "echo text >&2"]), &log).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "text\ntext\n");
        let (link, fifo) = (dir.path().join("link.log"), dir.path().join("fifo.log"));
        std::os::unix::fs::symlink(&log, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for log in [&link, &fifo] {
            let mut child = spawn_logged(Command::new("sh").args(["-c", "echo text >&2"]), log).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "text\ntext\n");
    }
}
