//! Programs that follow logs, each in its own directory.
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use crate::process_usage;

/// A program that is compared.
#[derive(Debug, Clone, Copy)]
pub enum Candidate<'a> {
    /// Every log, each line with its name, and in a bounded file with its time too.
    Ours(&'a Path),
    /// The usual command: one log, unchanged, kept in a file that grows.
    Tee,
    /// The same with the name before each line, which is handed on as soon as it has ended.
    SedTee,
}

/// A running candidate.
#[derive(Debug)]
pub struct Running {
    child: Child,
    root: PathBuf,
}

impl Candidate<'_> {
    pub fn name(self) -> &'static str {
        match self {
            Self::Ours(_) => "logtail",
            Self::Tee => "tail | tee",
            Self::SedTee => "tail | sed | tee",
        }
    }

    /// Prefix of each line of output.
    pub fn prefix(self) -> &'static str {
        match self {
            Self::Ours(_) | Self::SedTee => "x | ",
            Self::Tee => "",
        }
    }

    /// Starts it on `x.log`, which has `blocks` times this block; returns its output and the log.
    pub fn start(self, block: &[u8], blocks: usize) -> Result<(Running, ChildStdout, PathBuf)> {
        let root = std::env::temp_dir().join(format!("leonardo-bench-logtail-{}", std::process::id()));
        let logs = root.join("var/log/supervisor");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let log = logs.join("x.log");
        write(&log, block, blocks).with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = match self {
            Self::Ours(program) => {
                let mut command = Command::new(program);
                command.arg("follow").arg("--root").arg(&root);
                command
            }
            Self::Tee => pipeline("tail -n +1 -f \"$0\" | tee \"$1\"", &log, &root),
            Self::SedTee => {
                pipeline("tail -n +1 -f \"$0\" | stdbuf -oL sed 's/^/x | /' | tee \"$1\"", &log, &root)
            }
        };
        // All programs of a pipeline exit with their shell.
        command.process_group(0).stdout(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot run {command:?}"))?;
        let output = child.stdout.take();
        let running = Running { child, root };
        Ok((running, output.context("there is no output")?, log))
    }
}

/// Flushed to disk, so that the disk is idle while the reading is measured.
fn write(log: &Path, block: &[u8], blocks: usize) -> io::Result<()> {
    let mut file = File::create(log)?;
    (0..blocks).try_for_each(|_| file.write_all(block))?;
    file.sync_all()
}

fn pipeline(script: &str, log: &Path, root: &Path) -> Command {
    let mut command = Command::new("sh");
    command.args(["-c", script]).arg(log).arg(root.join("kept"));
    command
}

impl Running {
    /// Asks it to end.
    pub fn stop(&self) -> Result<()> {
        killpg(self.group()?, Signal::SIGTERM).context("cannot stop it")
    }

    /// Sum of the peak memory of its processes, in MB.
    pub fn memory(&self) -> Result<f64> {
        let mut kilobytes = 0;
        for process in self.processes()? {
            kilobytes += process_usage::peak_kilobytes(process).context("cannot read the peak memory")?;
        }
        Ok(f64::from(kilobytes) * 1.024e-3)
    }

    /// The time that all its processes have spent on a processor.
    pub fn processor(&self) -> Result<Duration> {
        self.processes()?.into_iter().map(process_usage::processor_time).sum()
    }

    /// Its process and its children, which have no children.
    fn processes(&self) -> Result<Vec<u32>> {
        let own = self.child.id();
        let path = format!("/proc/{own}/task/{own}/children");
        let children = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
        let children = children.split_whitespace().map(|child| child.parse().context("not a number"));
        std::iter::once(Ok(own)).chain(children).collect()
    }

    fn group(&self) -> Result<Pid> {
        Ok(Pid::from_raw(self.child.id().try_into().context("too great a number")?))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(group) = self.group() {
            let _ = killpg(group, Signal::SIGKILL);
        }
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}
