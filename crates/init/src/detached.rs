//! supervisord in the background, where another program is the container's first process.

use std::fs::File;
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
use nix::sys::stat::{Mode, umask};
use nix::unistd;

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
/// Time limit for supervisord, which usually takes a tenth of a second.
const START: Duration = Duration::from_secs(30);

/// Refuses a late start that cannot succeed, and waits for another one: providers may run two hooks at once.
pub fn begin() -> Result<Option<Lock>> {
    if std::process::id() == 1 {
        return Err(UsageError("--detach needs another first process; use: init.sh".to_owned()).into());
    }
    let uid = unistd::geteuid();
    if !uid.is_root() {
        return Err(anyhow!("init must be root, and this is user {uid}"))
            .hint(|| "run: sudo -E init.sh --detach".to_owned());
    }
    // A disk may be full; two starts at once are rare.
    let lock = Lock::open(Path::new(LOCK)).map_err(|error| log::warn!("{error:#}")).ok();
    lock.as_ref().map_or(Ok(()), |lock| lock.acquire(ANOTHER_START))?;
    Ok(lock)
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
    match left.and(reaps) {
        Ok(()) => exec_supervisord::exec(&Env::from_process()),
        Err(error) => error,
    }
}
