//! Being told to end, by supervisord when the container stops or by `supervisorctl stop boot`.
//!
//! That is handed on to what late boot runs, which ends in its own way: a script is given its time, and `provision` notes how
//! it ended. Late boot waits for that, begins nothing further, and has said in the journal that this was no accident.
//! supervisord kills whoever takes longer than `stopwaitsecs`.

use std::io;
use std::process::{Child, Command};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;

use anyhow::{Context, Result};
use journal::{Event, Journal};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::{getpgrp, getpid};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

/// Whether this process was told to end; held while it starts another, so that none is started that does not hear of it.
static ASKED: Mutex<bool> = Mutex::new(false);

fn asked() -> MutexGuard<'static, bool> {
    ASKED.lock().unwrap_or_else(PoisonError::into_inner)
}

/// From here on a signal does not end this process by itself.
pub fn install_handler(journal: Journal) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP]).context("cannot install the signal handler")?;
    let listen = move || {
        for _ in signals.forever() {
            let mut asked = asked();
            // Our own one comes back to us.
            if !*asked {
                *asked = true;
                if let Err(error) = journal.append(Event::BootStopped) {
                    log::error!("{error:#}");
                }
                forward_signal();
            }
        }
    };
    thread::Builder::new().spawn(listen).context("cannot start a thread")?;
    Ok(())
}

/// To all that late boot runs: supervisord has made it the leader of their group. In a terminal's group are others too.
fn forward_signal() {
    if getpgrp() == getpid() {
        // Those that have ended meanwhile need not hear of it.
        let _ = killpg(getpgrp(), Signal::SIGTERM);
    }
}

/// Whether nothing further is to be begun.
pub fn is_requested() -> bool {
    *asked()
}

/// Starts a program, unless nothing further is to be begun.
pub fn spawn(command: &mut Command) -> io::Result<Child> {
    let asked = asked();
    if *asked { Err(io::Error::other("late boot was stopped")) } else { command.spawn() }
}
