//! supervisord in the background, where another program is the container's first process.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kit::lock::Lock;
use kit::process::Process;
use kit::{Env, Exit, HintExt, Outcome, Problem, UsageError, wait};
use nix::fcntl::{FcntlArg, OFlag, fcntl};
use nix::sys::prctl;
use nix::sys::signal::{self, SigSet, Signal};
use nix::sys::stat::{Mode, umask};
use nix::unistd::{self, Pid};

use crate::container_environment::FOREIGN;
use crate::exec_supervisord;
use crate::foreign_sshd::is_of_this_container;

/// Output of the container's first process, which engines show as the container's log.
const CONTAINER_LOG: &str = "/proc/1/fd/1";
/// supervisord accepts connections here once it runs.
const SOCKET: &str = "/run/supervisor.sock";
/// Held until supervisord runs.
const LOCK: &str = "/run/init.lock";
/// Time limit for another late start.
const ANOTHER_START: Duration = Duration::from_mins(1);
/// Number of the last supervisord, which leads its session after a late start.
const PID_FILE: &str = "/run/supervisord.pid";
/// Time limit for programs after a signal.
const STOP: Duration = Duration::from_secs(10);
/// Time limit for supervisord, which usually takes a tenth of a second.
const START: Duration = Duration::from_secs(30);

/// Refuses a late start that cannot succeed, and waits for another one: providers may run two hooks at once. The end of
/// the terminal that it was started in no longer ends it.
pub fn begin() -> Result<Option<Lock>> {
    if std::process::id() == 1 {
        return Err(UsageError("--detach needs another first process; use: init.sh".to_owned()).into());
    }
    let uid = unistd::geteuid();
    if !uid.is_root() {
        return Err(anyhow!("init must be root, and this is user {uid}"))
            .hint(|| "run: sudo -E init.sh --detach".to_owned());
    }
    SigSet::from(Signal::SIGHUP).thread_block().context("cannot block SIGHUP")?;
    // A disk may be full; two starts at once are rare.
    let lock = Lock::open(Path::new(LOCK)).map_err(|error| log::warn!("{error:#}")).ok();
    lock.as_ref().map_or(Ok(()), |lock| lock.acquire(ANOTHER_START))?;
    Ok(lock)
}

/// Ends what a supervisord that was killed left behind: it holds locks and ports of the programs that are about to start.
pub fn end_orphans() -> Result<()> {
    // supervisord removes the file when it stops.
    let former = fs::read_to_string(PID_FILE).ok().and_then(|pid| pid.trim().parse().ok());
    let Some(session) = former.filter(|&session| is_left_behind(session)) else { return Ok(()) };
    for signal in [Signal::SIGTERM, Signal::SIGKILL] {
        let orphans = members(session);
        if orphans.is_empty() {
            return Ok(());
        }
        log::warn!("supervisord was killed; ending {} of its processes with {signal}", orphans.len());
        for orphan in orphans {
            // It may have exited meanwhile.
            let _ = signal::kill(Pid::from_raw(orphan), signal);
        }
        let _ = wait::until(STOP, "them", || members(session).is_empty().then_some(()));
    }
    let names: Vec<_> = members(session).iter().map(ToString::to_string).collect();
    if names.is_empty() {
        return Ok(());
    }
    Err(anyhow!("processes of a supervisord that was killed do not exit: {}", names.join(" ")))
        .hint(|| "restart the container".to_owned())
}

/// True if a session without a leader has a program of supervisord. The number may be that of another session by now, so the
/// environment of a member decides: root can read those of its own account.
fn is_left_behind(session: i32) -> bool {
    let is_supervised = |id: &i32| {
        let process = Process::new(id);
        let variables = fs::read(process.path("environ")).unwrap_or_default();
        variables.split(|&byte| byte == 0).any(|pair| pair == b"SUPERVISOR_ENABLED=1")
            && is_of_this_container(&process)
    };
    let members = members(session);
    !members.contains(&session) && members.iter().any(is_supervised)
}

/// Returns the other running processes of a session; terminals and logins have sessions of their own.
fn members(session: i32) -> Vec<i32> {
    let own = Pid::this().as_raw();
    let member = |process: Process| {
        let stat = process.stat()?;
        (stat.session == session && stat.is_alive && stat.id != own).then_some(stat.id)
    };
    Process::all().into_iter().filter_map(member).collect()
}

/// Starts supervisord, and returns when it accepts commands.
pub fn run(env: &Env, log: Option<File>) -> Outcome {
    let mut child = start(env, log)?;
    wait::until(START, "supervisord", || match child.try_wait() {
        Ok(None) => UnixStream::connect(SOCKET).is_ok().then_some(Ok(())),
        Ok(Some(status)) => {
            Some(Err(anyhow!("supervisord exited ({status}); see /var/log/supervisor/supervisord.log")))
        }
        Err(error) => Some(Err(error.into())),
    })??;
    log::info!(
        "services run in the background; progress: boot report, logs: logtail, stop: supervisorctl shutdown"
    );
    Ok(Exit::Done)
}

/// Opens the container's log; where that is not possible, the programs' output goes to log files only.
pub fn container_log(problems: &mut Vec<Problem>) -> Option<File> {
    let opened = open_log();
    if let Err(error) = &opened {
        let message =
            format!("cannot write to {CONTAINER_LOG}: {error}; all logs are in /var/log/logtail.log");
        problems.push(Problem::new("container's log", message));
    }
    opened.ok()
}

fn open_log() -> io::Result<File> {
    if !is_of_this_container(&Process::new(1)) {
        return Err(io::Error::other(FOREIGN));
    }
    // Opening a pipe that is not read would block. Writing may: logtail expects that.
    let flags = OFlag::O_NONBLOCK | OFlag::O_NOCTTY;
    let log = File::options().append(true).custom_flags(flags.bits()).open(CONTAINER_LOG)?;
    fcntl(&log, FcntlArg::F_SETFL(OFlag::O_APPEND))?;
    Ok(log)
}

fn start(env: &Env, log: Option<File>) -> Result<Child> {
    let (output, errors) = match log {
        Some(log) => (Stdio::from(log.try_clone()?), log.into()),
        None => (Stdio::null(), Stdio::null()),
    };
    let mut command = Command::new(std::env::current_exe()?);
    command.arg("--become-supervisord").env_clear().envs(env.iter()).current_dir("/");
    command.stdin(Stdio::null()).stdout(output).stderr(errors);
    command.spawn().context("cannot start supervisord")
}

/// Replaces this process, a new child, by supervisord; returns only an error.
pub fn become_supervisord() -> anyhow::Error {
    // The end of the hook's session must not end the services.
    let left = unistd::setsid().context("cannot start a session");
    // Another first process may not reap what double-forking programs leave behind; supervisord does.
    let reaps = prctl::set_child_subreaper(true).context("cannot become the parent of orphaned processes");
    umask(Mode::S_IWGRP | Mode::S_IWOTH);
    let unblocked = SigSet::from(Signal::SIGHUP).thread_unblock().context("cannot unblock SIGHUP");
    match left.and(reaps).and(unblocked) {
        Ok(()) => exec_supervisord::exec(&Env::from_process()),
        Err(error) => error,
    }
}
