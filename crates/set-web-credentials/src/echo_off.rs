//! A terminal that does not show what is typed, from before the question until after the answer.
//!
//! The prompt alone is not enough: rpassword asks first and switches the echo off then, so a quick typist could see the
//! beginning; and at Ctrl-C it ends the process without putting the terminal back. So the terminal is in rpassword's own
//! mode all the time, in which every key, Ctrl-C too, waits as a character until rpassword reads it.

use std::fs::{File, OpenOptions};

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, SigmaskHow, Signal};
use nix::sys::termios::{LocalFlags, SetArg, Termios, tcgetattr, tcsetattr};

const TERMINAL: &str = "/dev/tty";

/// Silence until this is dropped; the signal that rpassword makes of Ctrl-C is held back until then.
pub struct EchoOff {
    terminal: File,
    before: Termios,
    mask: SigSet,
}

impl EchoOff {
    /// Switches the echo of this process's terminal off; an error says that there is no such terminal.
    pub fn new() -> Result<Self> {
        let cannot = || format!("cannot ask at {TERMINAL}");
        let terminal = OpenOptions::new().read(true).write(true).open(TERMINAL).with_context(cannot)?;
        let before = tcgetattr(&terminal).with_context(cannot)?;
        let interrupt: SigSet = [Signal::SIGINT].into_iter().collect();
        let mask = interrupt.thread_swap_mask(SigmaskHow::SIG_BLOCK).with_context(cannot)?;
        let silence = Self { terminal, before, mask };
        let mut silent = silence.before.clone();
        silent.local_flags.remove(LocalFlags::ECHO | LocalFlags::ICANON | LocalFlags::ISIG);
        tcsetattr(&silence.terminal, SetArg::TCSANOW, &silent).with_context(cannot)?;
        Ok(silence)
    }
}

impl Drop for EchoOff {
    fn drop(&mut self) {
        // A terminal that is gone needs nothing. A held-back interrupt ends the process with the second line.
        let _ = tcsetattr(&self.terminal, SetArg::TCSANOW, &self.before);
        let _ = self.mask.thread_set_mask();
    }
}
