//! `follow`: copies the changes of programs that keep files of the old tree open, and retries failed runs.
//!
//! supervisord stops it after the programs that it waits for, so that their last writes are copied as well.

use std::os::fd::AsFd;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::retry::Retry;
use crate::steps::Step;
use crate::sync_context::{self, SyncContext};
use crate::tree_paths::TreePaths;
use kit::quote::escape_control_line;

/// Pause between rounds; each reads the names of the whole tree.
const PAUSE: Duration = Duration::from_secs(3);

/// Time that another workspace-sync of this container gets to finish when this one is stopped.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Copies changes until no program writes to an old tree and no retry is due, or until a signal; then once more.
///
/// Failures are retried, because programs continue to write. Other commands can take the lock between two rounds.
pub fn run(setting: &SyncContext<'_>, trees: &[TreePaths], attempt: Command, first: Duration) -> Outcome {
    let mut asked = SigSet::empty();
    for signal in [Signal::SIGTERM, Signal::SIGINT, Signal::SIGCHLD] {
        asked.add(signal);
    }
    asked.thread_block().context("cannot install the signal handler")?;
    let signals = SignalFd::new(&asked).context("cannot wait for signals")?;
    let mut retry = Retry::new(setting.journal, attempt, first, is_unfinished(setting, trees));
    loop {
        let writing = run_round(setting, trees, Duration::ZERO).unwrap_or_else(|error| {
            log::warn!("{}", escape_control_line(&format!("{error:#}")));
            true
        });
        if let Err(error) = retry.poll() {
            log::warn!("{error:#}");
        }
        if !writing && retry.has_ended() {
            log::info!("nothing left to copy or retry");
            return Ok(Exit::Done);
        }
        let pause = [writing.then_some(PAUSE), retry.time_until_next()].into_iter().flatten().min();
        let timeout = pause.map_or(PollTimeout::NONE, |pause| {
            PollTimeout::try_from(pause + Duration::from_millis(1)).unwrap_or(PollTimeout::MAX)
        });
        let mut wait = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, timeout).context("cannot wait")? > 0 {
            let signal = signals.read_signal().context("cannot read a signal")?;
            let is_of_child = signal
                .is_none_or(|signal| signal.ssi_signo == u32::try_from(Signal::SIGCHLD as i32).unwrap_or(0));
            if !is_of_child {
                retry.stop();
                run_round(setting, trees, LOCK_TIMEOUT)?;
                return Ok(Exit::Done);
            }
        }
    }
}

/// Returns the error after a pause, because supervisord restarts this program at once, and a full disk stays full.
pub fn delay_restart(error: anyhow::Error) -> anyhow::Error {
    let seconds = PollTimeout::try_from(LOCK_TIMEOUT).unwrap_or(PollTimeout::MAX);
    let _ = poll(&mut [], seconds);
    error
}

/// True if a `run` has a tree to copy or to switch, or cannot read the state of one.
fn is_unfinished(setting: &SyncContext<'_>, trees: &[TreePaths]) -> bool {
    let is_left = |step: &Step| *step != Step::SyncDelta;
    trees.iter().any(|tree| setting.steps(tree).map_or(true, |steps| steps.iter().any(is_left)))
}

/// Copies the changes once; returns true if a program may still write.
fn run_round(setting: &SyncContext<'_>, trees: &[TreePaths], patience: Duration) -> Result<bool> {
    if !trees.iter().any(|tree| setting.is_followed(tree)) {
        return Ok(false);
    }
    let lock = sync_context::lock(setting.state_dir)?;
    if let Err(error) = lock.acquire(patience) {
        log::debug!("{error:#}");
        return Ok(true);
    }
    setting.sync_deltas(trees)
}
