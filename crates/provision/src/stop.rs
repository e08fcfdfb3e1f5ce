//! Being told to end while another run is waited for.
//!
//! When late boot is killed, its `provision` goes on, in a group that nobody signals any more. The `provision` of the next
//! boot waits for it, and is the only one that hears of a stop; so it hands that on.

use std::fs;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::signalfd::{SfdFlags, SignalFd};
use nix::unistd::Pid;

/// Until this is dropped, SIGTERM does not end this process by itself.
pub struct Stop {
    signals: SignalFd,
    asked: bool,
    told: Option<i32>,
}

impl Stop {
    pub fn watch() -> Result<Self> {
        let mask = wanted();
        mask.thread_block().context("cannot set the signal mask")?;
        let flags = SfdFlags::SFD_CLOEXEC | SfdFlags::SFD_NONBLOCK;
        let signals = SignalFd::with_flags(&mask, flags).context("cannot wait for SIGTERM")?;
        Ok(Self { signals, asked: false, told: None })
    }

    pub fn is_asked(&mut self) -> bool {
        self.asked |= matches!(self.signals.read_signal(), Ok(Some(_)));
        self.asked
    }

    /// Tells a run of late boot to end, once; a person's is left alone, and not to be waited for any longer.
    pub fn hand_on(&mut self, process: i32) -> bool {
        // Without arguments it has ended meanwhile.
        let arguments = fs::read(format!("/proc/{process}/cmdline")).unwrap_or_default();
        let is_of_boot =
            arguments.is_empty() || arguments.split(|&byte| byte == 0).any(|word| word == b"--attempt");
        if is_of_boot && self.told.replace(process) != Some(process) {
            let _ = kill(Pid::from_raw(process), Signal::SIGTERM);
        }
        is_of_boot
    }
}

impl Drop for Stop {
    fn drop(&mut self) {
        // Nothing depends on it if this fails.
        let _ = wanted().thread_unblock();
    }
}

fn wanted() -> SigSet {
    let mut wanted = SigSet::empty();
    wanted.add(Signal::SIGTERM);
    wanted
}
