//! The directories of a container's logs, and a follower of them.

use std::fs::{self, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write, pipe};
use std::os::unix::fs::{MetadataExt, chown, fchown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use tempfile::TempDir;

/// Generous: the machine may be busy with other tests.
pub const DEADLINE: Duration = Duration::from_mins(1);

pub struct Machine(TempDir);

impl Machine {
    pub fn new() -> Self {
        let machine = Self(tempfile::tempdir().unwrap());
        fs::create_dir_all(machine.path("var/log/supervisor")).unwrap();
        machine
    }

    pub fn path(&self, below: &str) -> PathBuf {
        self.0.path().join(below)
    }

    pub fn log(&self, service: &str) -> PathBuf {
        self.path(&format!("var/log/supervisor/{service}.log"))
    }

    pub fn logtail(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_logtail"));
        command.env_clear().args(args).arg("--root").arg(self.0.path());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    }

    pub fn follow(&self) -> Follower {
        Follower::of(self.logtail(&["follow"]).spawn().unwrap())
    }

    /// The same as somebody who may not read everything; its directories become theirs. Needs root.
    pub fn follow_as_nobody(&self) -> Follower {
        const NOBODY: u32 = 65534;
        for directory in ["", "var", "var/lib", "var/log", "var/log/supervisor"] {
            fs::create_dir_all(self.path(directory)).unwrap();
            chown(self.path(directory), Some(NOBODY), None).unwrap();
        }
        let (output, input) = pipe().unwrap();
        // It opens its output anew.
        fchown(&input, Some(NOBODY), None).unwrap();
        let mut command = self.logtail(&["follow"]);
        let child = command.uid(NOBODY).gid(NOBODY).stdout(input).spawn().unwrap();
        Follower { child, lines: reader(output) }
    }

    /// The record, its oldest file first, without times.
    pub fn record(&self) -> String {
        let text = |name: &String| fs::read_to_string(self.path(name)).unwrap_or_default();
        let older = (1..9).rev().map(|number| format!("var/log/logtail.log.{number}"));
        let names: Vec<_> = older.chain(["var/log/logtail.log".to_owned()]).collect();
        let all: String = names.iter().map(text).collect();
        all.split_inclusive('\n').map(|line| &line[25..]).collect()
    }
}

pub fn append(path: &Path, text: impl AsRef<[u8]>) {
    OpenOptions::new().create(true).append(true).open(path).unwrap().write_all(text.as_ref()).unwrap();
}

/// A running `logtail`; ends with its test.
pub struct Follower {
    pub child: Child,
    lines: Receiver<String>,
}

impl Follower {
    pub fn of(mut child: Child) -> Self {
        let lines = reader(child.stdout.take().unwrap());
        Self { child, lines }
    }

    /// The next line of output.
    #[track_caller]
    pub fn line(&self) -> String {
        self.lines.recv_timeout(DEADLINE).unwrap()
    }

    /// SIGTERM: the exit code, and what was printed after the last line that was asked for.
    pub fn stop(mut self) -> (Option<i32>, Vec<String>) {
        let pid = nix::unistd::Pid::from_raw(self.child.id().try_into().unwrap());
        nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
        let code = self.child.wait().unwrap().code();
        (code, self.lines.iter().collect())
    }

    /// Waits until the process has this very file open.
    #[track_caller]
    pub fn has_open(&self, path: &Path) {
        has_open(self.child.id(), path);
    }
}

impl Drop for Follower {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[track_caller]
pub fn has_open(process: u32, path: &Path) {
    let wanted = fs::metadata(path).unwrap();
    kit::wait::until(DEADLINE, "the file to be opened", || {
        let open = fs::read_dir(format!("/proc/{process}/fd"))
            .unwrap()
            .filter_map(|entry| fs::metadata(entry.ok()?.path()).ok());
        let mut open = open.map(|meta| (meta.dev(), meta.ino()));
        open.any(|id| id == (wanted.dev(), wanted.ino())).then_some(())
    })
    .unwrap();
}

fn reader(output: impl Read + Send + 'static) -> Receiver<String> {
    let (sender, lines) = channel();
    thread::spawn(move || {
        for line in BufReader::new(output).lines() {
            if sender.send(line.unwrap()).is_err() {
                return;
            }
        }
    });
    lines
}
