//! The boot stage that the service waits for.

use std::process::Stdio;
use std::sync::mpsc::{Receiver, Sender};

use anyhow::{Context, Result};
use journal::Stage;
use kit::cmd;
use nix::sys::signal::Signal;

use crate::lifecycle::Event;
use crate::program::report_end;

/// Waits until a stage has ended, whatever its result; returns the signal that ends the wait before.
pub fn wait(stage: Stage, sender: &Sender<Event>, events: &Receiver<Event>) -> Result<Option<Signal>> {
    log::info!("waiting for {stage}");
    let mut command = cmd::killed_with_parent(cmd::image_program("boot"));
    command.args(["wait", &stage.to_string()]).stdin(Stdio::null()).stdout(Stdio::null());
    let mut boot = command.spawn().context("cannot run boot")?;
    report_end(i32::try_from(boot.id()).context("process id out of range")?, sender.clone())?;
    let signal = loop {
        match events.recv()? {
            Event::Ended { .. } => break None,
            Event::Signal(signal) if !matches!(signal, Signal::SIGUSR1 | Signal::SIGUSR2) => {
                // It may have ended meanwhile.
                let _ = boot.kill();
                break Some(signal);
            }
            _ => {}
        }
    };
    boot.wait().context("cannot wait for boot")?;
    Ok(signal)
}
