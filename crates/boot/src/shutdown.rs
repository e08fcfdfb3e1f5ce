//! Orderly stop of late boot, when the container stops or by `supervisorctl stop boot`.
//!
//! The signal is forwarded to the running tools, which stop in their own way: a script gets its grace period, and
//! `provision` records the result. Late boot waits for them, starts nothing further, and records in the journal that it
//! was stopped. supervisord kills a program that takes longer than `stopwaitsecs`.

use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};

use anyhow::{Context, Result};
use journal::{Event, Journal};
use kit::threads;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{getpgrp, getpid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// True if a stop was requested. Locked while a process is started, so that no process misses the signal.
static ASKED: Mutex<bool> = Mutex::new(false);

fn asked() -> MutexGuard<'static, bool> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Handles the signals from here on: they no longer end this process themselves. They are not blocked, because hooks and
/// tools would inherit that.
pub fn install_handler(journal: Journal) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot install the signal handler")?;
    let listen = move || {
        for _ in signals.forever() {
            let mut asked = asked();
            // Our own signal to the group is received too.
            if !*asked {
                *asked = true;
                if let Err(error) = journal.append(Event::BootStopped) {
                    log::error!("{error:#}");
                }
                forward_signal();
            }
        }
    };
    threads::start(listen)
}

/// Forwards the signal to the process group, which supervisord created for late boot. The group of a terminal has other
/// processes.
fn forward_signal() {
    if getpgrp() == getpid() {
        // Some may have exited meanwhile.
        let _ = killpg(getpgrp(), Signal::SIGTERM);
    }
}

/// True if nothing further is to be started.
pub fn is_requested() -> bool {
    *asked()
}

/// Starts a program unless a stop was requested.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let asked = asked();
    if *asked { Err(io::Error::other("late boot was stopped")) } else { command.spawn() }
}
