//! The running script, until it and its session have ended.

use std::io::{PipeReader, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ChildStdin, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::Env;
use kit::system_account::Account;
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use rustix::process::{Pid, PidfdFlags, WaitId, WaitIdOptions, pidfd_open, waitid};

use crate::line_assembler::LineAssembler;
use crate::lock::Lock;
use crate::output_pump::{OutputPump, PIPE};
use crate::progress_reporter::ProgressReporter;
use crate::script_session::{self, EndReport};
use crate::verdict::StopReason;

/// Maximum number of reads before other events are handled.
const READS: usize = 16;

/// A script to run, with its circumstances.
pub struct ScriptTask<'a> {
    pub account: &'a Account,
    pub script: &'a Path,
    pub own_interpreter: bool,
    pub env: &'a Env,
    pub limit: Option<Duration>,
    pub time_divisor: u32,
}

/// End of a script.
#[derive(Debug)]
pub struct ScriptEnd {
    pub status: ExitStatus,
    /// Last line that it printed.
    pub last_line: String,
}

/// Blocks the signals that would end this process, and returns them as a descriptor.
pub fn signals() -> Result<SignalFd> {
    let wanted = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP, Signal::SIGQUIT]);
    wanted.thread_block().context("cannot set the signal mask")?;
    let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
    SignalFd::with_flags(&wanted, flags).context("cannot wait for signals")
}

/// Runs the script, and ends everything that it leaves in its session.
///
/// `note` is called as soon as the script has exited, before its background processes are ended: a kill in between must not
/// make a successful script run again.
pub fn run(
    task: &ScriptTask<'_>,
    lock: &Lock,
    signals: &SignalFd,
    lines: LineAssembler,
    progress: &mut ProgressReporter,
    note: &mut dyn FnMut(ExitStatus, Option<StopReason>),
) -> Result<ScriptEnd> {
    let (reader, writer) = std::io::pipe().context("cannot create a pipe")?;
    // A smaller pipe works too.
    let _ = fcntl(&reader, FcntlArg::F_SETPIPE_SZ(PIPE));
    fcntl(&reader, FcntlArg::F_SETFL(OFlag::O_NONBLOCK)).context("cannot set the pipe to non-blocking")?;
    let mut child = start(task, writer)?;
    let session = i32::try_from(child.id()).context("process id out of range")?;
    let mut guard = CleanupGuard::start(lock, &reader, session, task.time_divisor)?;
    let exit = pidfd(session)?;
    // Guarded now, so the script may begin.
    if let Some(mut gate) = child.stdin.take() {
        // A launcher that has exited has printed the reason.
        let _ = gate.write_all(b"\n");
    }
    let mut pump = OutputPump::new(reader, lines, progress);
    let stop = attend(&mut pump, &exit, signals, task.limit);
    if stop.is_none() {
        note(status(&exit)?, None);
    }
    if let Some(reason) = stop {
        pump.progress.log_step(&match reason {
            StopReason::TimeLimit => "PROVISIONING_TIMEOUT expired; stopping the script".to_owned(),
            StopReason::Signal(signal) => format!("received {signal}; stopping the script"),
        });
    }
    lock.record_ending();
    // Its last output comes before our own messages.
    pump.drain(Duration::ZERO);
    // Before the wait for it: until then, no other session can get its number.
    let grace = script_session::GRACE / task.time_divisor.max(1);
    let ending = script_session::end_session(session, grace, |pause| pump.drain(pause));
    let status = child.wait().context("cannot wait for the script")?;
    if stop.is_some() {
        note(status, stop);
    }
    pump.drain(Duration::ZERO);
    pump.finish();
    let last_line = pump.lines.last();
    let remaining = pump.remaining(session);
    let OutputPump { progress, .. } = pump;
    report_end(progress, &ending, stop.is_some(), &remaining);
    guard.finish();
    Ok(ScriptEnd { status, last_line })
}

fn start(task: &ScriptTask<'_>, writer: std::io::PipeWriter) -> Result<Child> {
    let program = std::env::current_exe().context("cannot find the running executable")?;
    let mut launch = Command::new(program);
    launch.arg0("provision").args(["launch", "--user", &task.account.name]);
    launch.args(["--parent", &std::process::id().to_string()]);
    if task.own_interpreter {
        launch.arg("--own-interpreter");
    }
    launch.arg("--").arg(task.script);
    launch.env_clear().envs(task.env.iter());
    let second = writer.try_clone().context("cannot share a pipe")?;
    launch.stdin(Stdio::piped()).stdout(writer).stderr(second).spawn().context("cannot start the script")
}

fn pidfd(process: i32) -> Result<OwnedFd> {
    let process = Pid::from_raw(process).context("process id out of range")?;
    pidfd_open(process, PidfdFlags::empty()).context("cannot wait for the script")
}

/// Returns the exit status without reaping the process.
fn status(exit: &OwnedFd) -> Result<ExitStatus> {
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
    let status =
        waitid(WaitId::PidFd(exit.as_fd()), options).context("cannot get the script's exit status")?;
    let status = status.context("the script is still running")?;
    // As in wait(2): the signal in the low bits, the code above them.
    let raw = match (status.exit_status(), status.terminating_signal()) {
        (Some(code), _) => code << 8,
        (None, signal) => signal.unwrap_or_default(),
    };
    Ok(ExitStatus::from_raw(raw))
}

/// Process that ends the script's session if this one is killed; see `cleanup_guard`.
struct CleanupGuard {
    done: Option<ChildStdin>,
}

impl CleanupGuard {
    fn start(lock: &Lock, reader: &PipeReader, session: i32, time_divisor: u32) -> Result<Self> {
        let program = std::env::current_exe().context("cannot find the running executable")?;
        let lock = lock.0.try_clone().context("cannot share the lock")?;
        let output = reader.try_clone().context("cannot share a pipe")?;
        let mut guard = Command::new(program);
        guard.arg0("provision").args(["guard", "--session", &session.to_string()]);
        guard.args(["--time-divisor", &time_divisor.to_string()]).env_clear();
        guard.stdin(Stdio::piped()).stdout(lock).stderr(OwnedFd::from(output));
        let child = guard.spawn().context("cannot start the guard")?;
        Ok(Self { done: child.stdin })
    }

    /// Dismisses the guard. One that has exited already does not matter.
    fn finish(&mut self) {
        if let Some(done) = &mut self.done {
            let _ = done.write_all(b"\n");
        }
    }
}

/// Reads output until the script exits, its time expires, or a signal arrives. Its own exit counts first.
fn attend(
    pump: &mut OutputPump<'_>,
    exit: &OwnedFd,
    signals: &SignalFd,
    limit: Option<Duration>,
) -> Option<StopReason> {
    // A limit beyond the range of the clock is none.
    let deadline = limit.and_then(|limit| Instant::now().checked_add(limit));
    loop {
        pump.progress.note_output(|| pump.lines.last());
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        // A millisecond more, so that the note is due after the wait.
        let wait = pump.progress.next_note_in() + Duration::from_millis(1);
        let wait = left.map_or(wait, |left| left.min(wait).max(Duration::from_millis(1)));
        let ready = pump.wait(wait, &[exit.as_fd(), signals.as_fd()]);
        if pump.open && ready[0] {
            pump.read(READS);
        }
        if ready[1] {
            return None;
        }
        if ready[2]
            && let Ok(Some(signal)) = signals.read_signal()
        {
            let number = i32::try_from(signal.ssi_signo).unwrap_or_default();
            return Some(StopReason::Signal(Signal::try_from(number).unwrap_or(Signal::SIGTERM)));
        }
        if left.is_some_and(|left| left.is_zero()) {
            return Some(StopReason::TimeLimit);
        }
    }
}

/// Reports which processes were ended with the script, and which are still running.
fn report_end(progress: &mut ProgressReporter, ending: &EndReport, stopped: bool, remaining: &[String]) {
    if !ending.terminated.is_empty() && !stopped {
        progress.log_step(&format!(
            "warning: stopped background processes of the script: {}; to keep one running, make it a supervisord program, or start it with setsid",
            ending.terminated.join(", ")
        ));
    }
    if !ending.killed.is_empty() {
        progress.log_step(&format!("killed after it did not exit on SIGTERM: {}", ending.killed.join(", ")));
    }
    if !ending.remaining.is_empty() {
        progress.log_step(&format!("warning: cannot stop: {}", ending.remaining.join(", ")));
    }
    if !remaining.is_empty() {
        progress.log_step(&format!(
            "still running in its own session: {}; its output is no longer logged",
            remaining.join(", ")
        ));
    }
}
