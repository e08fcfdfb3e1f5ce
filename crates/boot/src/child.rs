//! The tools that do a stage's work: their diagnostics go into the stage's own log.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{self, Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result};
use kit::cmd;

use crate::stop;

/// By its path: a hook may put programs of its own in front of the PATH.
pub const SETPRIV: &str = "/usr/bin/setpriv";

/// Returns the command of a tool of the image that is killed when the thread that starts it ends, and so when late boot is killed: the
/// run that begins again starts its own.
pub fn bound(tool: &str) -> Command {
    let mut command = Command::new(SETPRIV);
    // Late boot may have died before its death could be a signal here.
    command.args(["--pdeathsig", "KILL", "--", "/bin/sh", "-c", r#"[ "$PPID" = "$0" ] && exec "$@""#]);
    command.arg(process::id().to_string()).arg(cmd::ours(tool));
    command
}

/// Starts a tool with its standard output for us and its diagnostics at the end of `log`.
pub fn start(command: &mut Command, log: &Path) -> Result<Child> {
    let diagnostics = append_to(log)?;
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(diagnostics);
    stop::spawn(command).with_context(|| format!("cannot run {}", cmd::describe(command)))
}

/// Opens a log for appending. A link or a FIFO in its place is reported and no reason to leave the work undone: then what a
/// tool prints is in this program's own log.
pub fn append_to(log: &Path) -> Result<File> {
    let opened = OpenOptions::new()
        .append(true)
        .create(true)
        .mode(0o640)
        .custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK)
        .open(log)
        .and_then(|file| {
            if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("not a regular file")) }
        });
    opened.or_else(|error| {
        log::warn!("cannot write {}: {error}", log.display());
        let own = io::stderr().as_fd().try_clone_to_owned().context("cannot duplicate a descriptor")?;
        Ok(File::from(own))
    })
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
    use std::io::Read;

    use super::*;

    #[test]
    fn a_code_and_a_signal_are_told_apart() {
        assert_eq!(in_words("x", ExitStatus::from_raw(0x0200)), "x ended with exit code 2");
        assert_eq!(in_words("x", ExitStatus::from_raw(9)), "x was ended by signal 9");
    }

    #[test]
    fn a_bound_tool_ends_with_what_started_it() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("log");
        let start = || {
            let mut child = start(bound("/bin/sh").args(["-c", "echo; exec sleep infinity"]), &log).unwrap();
            // It has begun when it has said so.
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            child
        };
        let mut orphan = std::thread::scope(|scope| scope.spawn(start).join().unwrap());
        assert_eq!(orphan.wait().unwrap().signal(), Some(9));
        let mut echo = bound("/bin/sh");
        let output = echo.args(["-c", "echo $PPID $1; exit 3", "sh", "a b"]).output().unwrap();
        let said = String::from_utf8(output.stdout).unwrap();
        assert_eq!((output.status.code(), said), (Some(3), format!("{} a b\n", process::id())));
    }

    #[test]
    fn diagnostics_are_appended_and_never_through_a_link_or_a_fifo() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("sync.log");
        for _ in 0..2 {
            let mut child = start(Command::new("sh").args(["-c", "echo said >&2"]), &log).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "said\nsaid\n");
        let (link, fifo) = (dir.path().join("link.log"), dir.path().join("fifo.log"));
        std::os::unix::fs::symlink(&log, &link).unwrap();
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        for log in [&link, &fifo] {
            let mut child = start(Command::new("sh").args(["-c", "echo said >&2"]), log).unwrap();
            assert!(child.wait().unwrap().success());
        }
        assert_eq!(std::fs::read_to_string(&log).unwrap(), "said\nsaid\n");
    }
}
