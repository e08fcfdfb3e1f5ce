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
use crate::sync::Setting;
use crate::tree::Tree;

/// Between looks; each reads the names of the whole tree.
const PAUSE_MILLISECONDS: u16 = 3_000;

/// Carries over until no program writes to any old tree, or until this process is asked to end; then once more.
pub fn run(setting: &Setting<'_>, trees: &[Tree]) -> Outcome {
    let mut asked = SigSet::empty();
    asked.add(Signal::SIGTERM);
    asked.add(Signal::SIGINT);
    asked.thread_block().context("cannot block signals")?;
    let signals = SignalFd::new(&asked).context("cannot wait for signals")?;
    loop {
        if !look(setting, trees)? {
            log::info!("no program writes to an old tree any more");
            return Ok(Exit::Done);
        }
        let mut wait = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
        if poll(&mut wait, PollTimeout::from(PAUSE_MILLISECONDS)).context("cannot wait")? > 0 {
            look(setting, trees)?;
            return Ok(Exit::Done);
        }
    }
}

/// Carries over once; returns whether somebody may still write.
fn look(setting: &Setting<'_>, trees: &[Tree]) -> Result<bool> {
    let mut writing = false;
    for tree in trees {
        let mut memory = Memory::load(setting.memory, &tree.name);
        if memory.leftover.is_some() {
            writing |= !setting.settle(tree, &mut memory, Duration::ZERO)?.is_empty();
        }
    }
    Ok(writing)
}
