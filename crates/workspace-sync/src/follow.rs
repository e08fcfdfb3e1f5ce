//! `follow`: the end of a switch that takes longer, because programs keep files of the old tree open.
//!
//! It is supervised, and stopped after the programs it waits for, so that what they write at their end is carried over too.

use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{SigSet, Signal};
use nix::sys::signalfd::SignalFd;

use crate::memory::Memory;
use crate::report::printable;
use crate::sync::Setting;
use crate::tree::Tree;

/// Between looks; each reads the names of the whole tree.
const PAUSE_MILLISECONDS: u16 = 3_000;

/// At the end, another workspace-sync of this container gets this long to finish.
const PATIENCE: Duration = Duration::from_secs(10);

/// Carries over until no program writes to any old tree, or until this process is asked to end; then once more.
///
/// What fails is tried again: programs go on writing meanwhile. Between two looks, other commands have their turn.
pub fn run(setting: &Setting<'_>, trees: &[Tree]) -> Outcome {
    let mut asked = SigSet::empty();
    asked.add(Signal::SIGTERM);
    asked.add(Signal::SIGINT);
    asked.thread_block().context("cannot block signals")?;
    let signals = SignalFd::new(&asked).context("cannot wait for signals")?;
    loop {
        match look(setting, trees, Duration::ZERO) {
            Ok(false) => {
                log::info!("no program writes to an old tree any more");
                return Ok(Exit::Done);
            }
            Ok(true) => {}
            Err(error) => log::warn!("{}", printable(&format!("{error:#}"))),
        }
        let mut wait = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, PollTimeout::from(PAUSE_MILLISECONDS)).context("cannot wait")? > 0 {
            look(setting, trees, PATIENCE)?;
            return Ok(Exit::Done);
        }
    }
}

/// Carries over once, every tree, and returns whether somebody may still write; fails with the first tree that failed.
fn look(setting: &Setting<'_>, trees: &[Tree], patience: Duration) -> Result<bool> {
    let lock = crate::lock(setting.memory)?;
    if let Err(error) = lock.acquire(patience) {
        log::debug!("{error:#}");
        return Ok(true);
    }
    let mut writing = false;
    let mut failed = None;
    for tree in trees {
        let mut memory = Memory::load(setting.memory, &tree.name);
        if memory.leftover.is_none() {
            continue;
        }
        match setting.settle(tree, &mut memory, Duration::ZERO) {
            Ok(writers) => writing |= !writers.is_empty(),
            Err(error) => failed = failed.or(Some(error.context(tree.name.clone()))),
        }
    }
    failed.map_or(Ok(writing), Err)
}
