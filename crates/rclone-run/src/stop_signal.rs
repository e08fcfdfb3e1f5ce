//! SIGTERM and SIGINT, as a condition that can be waited for.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::threads;
use nix::sys::signal::{SigSet, Signal};

/// True once one of the signals has arrived.
pub struct StopSignal(Arc<AtomicBool>);

impl StopSignal {
    /// Blocks the signals for all threads; must run before others are started, in the thread that will wait.
    pub fn install() -> Result<Self> {
        let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT]);
        signals.thread_block().context("cannot install the signal handler")?;
        let (received, waiting) = (Arc::new(AtomicBool::new(false)), thread::current());
        let flag = Arc::clone(&received);
        threads::start(move || {
            if signals.wait().is_ok() {
                flag.store(true, Ordering::Relaxed);
                waiting.unpark();
            }
        })?;
        Ok(Self(received))
    }

    /// True if a signal has arrived.
    pub fn is_received(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// Waits at most `time` for a signal; true if one has arrived.
    pub fn wait(&self, time: Duration) -> bool {
        if !self.is_received() {
            thread::park_timeout(time);
        }
        self.is_received()
    }
}
