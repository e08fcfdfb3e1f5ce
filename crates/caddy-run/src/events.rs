//! Everything that can happen while Caddy runs, as one queue.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::signal::{SigSet, Signal};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Services often come several at a time; one reload is enough for all that come within this.
const TOGETHER: Duration = Duration::from_millis(50);
/// A watch can lose events (queue overflow), so the registry is also looked at this often.
const AGAIN: Duration = Duration::from_secs(30);

/// Why the main loop wakes up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyEvent {
    /// The registry may have changed.
    Registry,
    /// We were asked to look at the templates again.
    Templates,
    /// We were asked to stop.
    Stop,
    /// Caddy has ended.
    Ended,
}

/// The queue, and the watch that fills it.
pub struct Events {
    changes: Receiver<ProxyEvent>,
    sender: Sender<ProxyEvent>,
    _watcher: RecommendedWatcher,
}

impl Events {
    /// Watches a directory, and takes over SIGTERM, SIGINT and SIGHUP.
    pub fn start(directory: &Path) -> Result<Self> {
        let (sender, changes) = channel();
        forward_signals(sender.clone())?;
        let registry = sender.clone();
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(
            move |event: notify::Result<Event>| {
                // Reading the registry raises access events, which must not make us read it again.
                if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                    // Fails only when the main loop has ended.
                    let _ = registry.send(ProxyEvent::Registry);
                }
            },
            config,
        )
        .context("cannot watch files")?;
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}", directory.display()))?;
        Ok(Self { changes, sender, _watcher: watcher })
    }

    /// A sender for whoever waits for Caddy's end.
    pub fn sender(&self) -> Sender<ProxyEvent> {
        self.sender.clone()
    }

    /// The next change; several changes of the registry become one.
    pub fn next(&self) -> Result<ProxyEvent> {
        let mut change = match self.changes.recv_timeout(AGAIN) {
            Ok(change) => change,
            Err(RecvTimeoutError::Timeout) => ProxyEvent::Registry,
            Err(error @ RecvTimeoutError::Disconnected) => {
                return Err(error).context("nothing can change any more");
            }
        };
        while change == ProxyEvent::Registry {
            match self.changes.recv_timeout(TOGETHER) {
                Ok(next) => change = next,
                Err(_) => break,
            }
        }
        Ok(change)
    }
}

/// Signals become changes in the queue, by a thread that waits for them.
fn forward_signals(sender: Sender<ProxyEvent>) -> Result<()> {
    let mut signals = SigSet::empty();
    signals.extend([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    // Before any other thread exists, so that every thread inherits the mask.
    signals.thread_block().context("cannot take over SIGTERM")?;
    thread::spawn(move || {
        while let Ok(signal) = signals.wait() {
            let change = if signal == Signal::SIGHUP { ProxyEvent::Templates } else { ProxyEvent::Stop };
            if sender.send(change).is_err() {
                return;
            }
        }
    });
    Ok(())
}
