//! Signals to this process.

use std::sync::mpsc::Sender;
use std::thread;

use anyhow::{Context, Result};
use nix::sys::signal::Signal;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGUSR1, SIGUSR2};
use signal_hook::iterator::Signals;

use crate::lifecycle::Event;

/// Reports signals as events from here on. They are not blocked, because programs would inherit that.
pub fn report(events: Sender<Event>) -> Result<()> {
    let all = [SIGTERM, SIGINT, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2];
    let mut signals = Signals::new(all).context("cannot install the signal handler")?;
    let listen = move || {
        for signal in signals.forever().filter_map(|number| Signal::try_from(number).ok()) {
            // Nothing receives it at the end of this process.
            let _ = events.send(Event::Signal(signal));
        }
    };
    thread::Builder::new().spawn(listen).context("cannot start a thread")?;
    Ok(())
}
