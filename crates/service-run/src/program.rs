//! Processes of the service's program.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, ExitStatus};
use std::sync::mpsc::{self, Sender};
use std::thread;

use anyhow::{Context, Result};
use kit::quote::quoted;
use kit::{Env, Exit, cmd, listening_port};
use nix::errno::Errno;
use nix::sys::wait::{Id, WaitPidFlag, WaitStatus, waitid};
use nix::unistd::{AccessFlags, Pid, access};

use crate::lifecycle::Event;
use crate::output::copy_labelled;
use crate::{health, placeholders};

/// Program, environment and port of one instance.
pub struct Program {
    /// Name of the instance in messages and, with several, in front of its output.
    pub label: String,
    /// Program and arguments, with placeholders.
    pub command: Vec<OsString>,
    /// Its whole environment.
    pub env: Env,
    /// Its port on 127.0.0.1.
    pub listen_port: u16,
    /// Path that answers once it can be used.
    pub health: Option<String>,
    /// True for the instance of a GPU, whose output gets the label.
    pub is_labelled: bool,
}

/// A process of the program.
pub struct Process {
    child: Child,
    /// Closed with it, which ends the requests for its health.
    _running: Sender<()>,
}

impl Process {
    /// Reaps the process, which has ended.
    pub fn reap(mut self) {
        if let Err(error) = self.child.wait() {
            log::warn!("cannot wait for process {}: {error}", self.child.id());
        }
    }
}

impl Program {
    /// Starts the process of an instance, which reports [`Event::Usable`] and [`Event::Ended`]; `output` is cloned for as
    /// long as there may be more of it. Called by the main thread, with whose end the kernel kills the process.
    pub fn start(
        &self,
        instance: usize,
        events: &Sender<Event>,
        output: &Sender<()>,
    ) -> Result<(i32, Process)> {
        let fill = |argument: &OsString| placeholders::fill(argument, self.listen_port, instance);
        let mut words = self.command.iter().map(fill);
        let mut command = cmd::killed_with_parent(words.next().unwrap_or_default());
        command.args(words).env_clear().envs(self.env.iter());
        let reader = if self.is_labelled {
            let (reader, writer) = io::pipe().context("cannot create a pipe")?;
            command.stdout(writer.try_clone().context("cannot duplicate a pipe")?).stderr(writer);
            Some(reader)
        } else {
            None
        };
        let child = command.spawn().context("cannot start a process")?;
        // Its ends of the pipe would keep the output from ending.
        drop(command);
        let pid = i32::try_from(child.id()).context("process id out of range")?;
        log::info!("{}: starting on 127.0.0.1:{}", self.label, self.listen_port);
        if let Some(reader) = reader {
            let (label, output) = (self.label.clone(), output.clone());
            spawn_thread(move || {
                let _output = output;
                if let Err(error) = copy_labelled(&label, reader, io::stdout()) {
                    log::warn!("{label}: the output ends here: {error}");
                }
            })?;
        }
        report_end(pid, events.clone())?;
        let (running, stopped) = mpsc::channel();
        let (label, path, port, events) =
            (self.label.clone(), self.health.clone(), self.listen_port, events.clone());
        spawn_thread(move || {
            if let Some(after) = health::wait(port, path.as_deref(), &stopped) {
                log::info!("{label}: answers after {} s", after.as_secs());
                if listening_port::is_reachable(port) {
                    log::warn!(
                        "{label}: listens on port {port} of every address, without the login; add its option for \
                         127.0.0.1, often --host 127.0.0.1"
                    );
                }
                let _ = events.send(Event::Usable { pid });
            }
        })?;
        Ok((pid, Process { child, _running: running }))
    }

    /// Returns the exit code and the reason if the program cannot be run: what starts it could only report a code.
    pub fn refusal(&self) -> Option<(Exit, String)> {
        let name = self.command.first().map(OsString::as_os_str).unwrap_or_default();
        let refused = |code, reason| {
            Some((Exit::Code(code), format!("cannot run {}: {reason}", quoted(Path::new(name)))))
        };
        let found: Vec<PathBuf> =
            paths(name, self.env.get("PATH")).into_iter().filter(|path| path.exists()).collect();
        if found.is_empty() {
            return refused(127, "No such file or directory");
        }
        let can_run = |path: &PathBuf| path.is_file() && access(path, AccessFlags::X_OK).is_ok();
        if found.iter().any(can_run) { None } else { refused(126, "Permission denied") }
    }
}

/// Returns the files that a program's name may mean, as execvp(3) looks for them.
fn paths(name: &OsStr, path: Option<&OsStr>) -> Vec<PathBuf> {
    if name.is_empty() {
        return Vec::new();
    }
    if Path::new(name).components().count() > 1 {
        return vec![name.into()];
    }
    std::env::split_paths(path.unwrap_or_default()).map(|directory| directory.join(name)).collect()
}

/// Sends [`Event::Ended`] once the process has ended. It is not reaped here: its number must stay its own for as long as the
/// main thread may send signals to it.
pub fn report_end(pid: i32, events: Sender<Event>) -> Result<()> {
    spawn_thread(move || {
        let flags = WaitPidFlag::WEXITED | WaitPidFlag::WNOWAIT;
        let status = loop {
            match waitid(Id::Pid(Pid::from_raw(pid)), flags) {
                Ok(WaitStatus::Exited(_, code)) => break ExitStatus::from_raw(code << 8),
                Ok(WaitStatus::Signaled(_, signal, _)) => break ExitStatus::from_raw(signal as i32),
                Err(Errno::EINTR) => {}
                // Impossible for a child that nothing else reaps.
                _ => break ExitStatus::from_raw(1 << 8),
            }
        };
        // Nothing receives it at the end of this process.
        let _ = events.send(Event::Ended { pid, status });
    })
}

fn spawn_thread(act: impl FnOnce() + Send + 'static) -> Result<()> {
    thread::Builder::new().spawn(act).context("cannot start a thread")?;
    Ok(())
}
