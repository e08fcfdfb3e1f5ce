//! Switches the terminal's echo off while a password is typed.
//!
//! rpassword alone is not enough: it prints the prompt before it switches the echo off, so that a fast typist sees the
//! first characters, and at Ctrl-C it ends the process without restoring the terminal. Here the terminal is in rpassword's
//! mode from before the first prompt until after the last: every key, including Ctrl-C, is queued until rpassword reads it.

use std::fs::{File, OpenOptions};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

const TERMINAL: &str = "/dev/tty";

/// Guard that restores the terminal when it is dropped; SIGINT, which rpassword raises at Ctrl-C, is blocked until then.
pub struct EchoOff {
    terminal: File,
    before: Termios,
    mask: SigSet,
}

impl EchoOff {
    /// Switches off the echo of this process's terminal; fails if it has none.
    pub fn new() -> Result<Self> {
        let cannot = || format!("cannot prompt on {TERMINAL}");
        let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL).with_context(cannot)?;
        let before = tcgetattr(&terminal).with_context(cannot)?;
        let interrupt: SigSet = [Signal::SIGINT].into_iter().collect();
        let mask = interrupt.thread_swap_mask(SigmaskHow::SIG_BLOCK).with_context(cannot)?;
        let guard = Self { terminal, before, mask };
        let mut silent = guard.before.clone();
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(&guard.terminal, SetArg::TCSANOW, &silent).with_context(cannot)?;
        Ok(guard)
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // A closed terminal needs no restoring. A blocked SIGINT ends the process in the second line.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        let _ = self.mask.thread_set_mask();
    }
}
