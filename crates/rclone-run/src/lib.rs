//! Mount the configured rclone remotes, and make rclone's configuration reachable.
//!
//! Each remote of `rclone listremotes` has a process `rclone mount NAME: $WORKSPACE/remote/NAME`, which is started again
//! when it exits. All options are variables of rclone (see [`environment`]), so users override them by name.
//!
//! No code here accesses a path inside a mount: a server that does not answer would block it. Mounts are found in the
//! kernel's table, and are detached before their process is stopped.
//!
//! A second process, `rclone-run relay`, passes port 53682 to rclone's interactive configuration (see [`relay`]).

mod cli;
mod configuration;
mod environment;
mod fuse;
mod mount_point;
mod mounter;
mod pending_uploads;
mod relay;
mod remotes;
mod stop_signal;
mod supervised;

use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::process::Child;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use journal::{Event, Journal};
use kit::lock::Lock;
use kit::{Exit, HintExt, Outcome, Problem, cmd};
use nix::sys::signal::Signal;
use nix::sys::stat::Mode;

pub use cli::command;

use cli::{Cli, Task};
use mounter::Mounter;
use stop_signal::StopSignal;
use supervised::{KILL_TIMEOUT, Supervised};

/// Interval at which the configuration and the processes are checked.
const INTERVAL: Duration = Duration::from_secs(1);

/// Runs the command line; returns after SIGTERM, when everything is unmounted.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if let Some(Task::Relay) = cli.task {
        return relay::run();
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("only root can mount remotes"))
            .hint(|| "run: supervisorctl status rclone".to_owned());
    }
    let _only = acquire_lock(&cli)?;
    // rclone 1.53 (Ubuntu 22.04) reads no RCLONE_UMASK, and takes that of its process.
    nix::sys::stat::umask(Mode::from_bits_truncate(0o002));
    let stop = StopSignal::install()?;
    let mut relay = Supervised::new("relay");
    let mut mounter = Mounter::new(&cli);
    loop {
        relay.update(start_relay);
        mounter.update(&stop);
        if stop.wait(INTERVAL) {
            mounter.stop();
            supervised::end([&mut relay], Signal::SIGKILL, KILL_TIMEOUT);
            return Ok(Exit::Done);
        }
    }
}

/// Acquires the lock of the only rclone-run: another one would detach the mounts of the first.
fn acquire_lock(cli: &Cli) -> Result<Option<Lock>> {
    let directory = cli.journal.with_file_name("rclone");
    // For root alone: any account that can open it can hold the lock. A full disk is reported below, and prevents nothing.
    let _ = DirBuilder::new().mode(0o700).create(&directory);
    Lock::lock_directory(&directory).hint(|| "run: supervisorctl status rclone".to_owned())
}

/// Starts the relay, as a process of its own because it faces the network.
fn start_relay() -> Result<Child> {
    let program = std::env::current_exe().context("cannot find the running executable")?;
    let mut command = cmd::killed_with_parent(program);
    command.arg("relay").spawn().with_context(|| format!("cannot run {}", cmd::describe(&command)))
}

/// Logs the problem and appends it to the journal, once for each start of the container.
fn report_once(journal: &Path, problem: Problem) -> Result<()> {
    let journal = Journal::new(journal);
    let text = problem.to_string();
    let event = Event::Problem { setting: problem.setting, message: problem.message };
    if journal.read()?.iter().any(|entry| entry.event == event) {
        return Ok(());
    }
    log::warn!("{text}");
    journal.append(event)
}
