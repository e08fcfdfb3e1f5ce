//! Queue of events while Caddy runs: changes of the registry, signals and Caddy's exit.

use std::path::Path;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use kit::threads;
use nix::sys::signal::{SigSet, Signal};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

/// Time within which several changes of the registry become one event.
const DEBOUNCE: Duration = Duration::from_millis(50);
/// Longest delay of the first of them: a program that rewrites its file all the time must not keep others waiting.
const MAX_DELAY: Duration = Duration::from_secs(1);
/// Interval at which the registry is read without an event, because inotify can lose events.
const POLL_INTERVAL: Duration = Duration::from_secs(30);

/// Event for the main loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ProxyEvent {
    /// The registry may have changed.
    Registry,
    /// SIGHUP: the templates must be reread.
    Templates,
    /// SIGTERM or SIGINT: Caddy must be stopped.
    Stop,
    /// Caddy has exited.
    Exited,
}

/// The queue, and the watcher of the registry.
pub struct Events {
    queue: Receiver<ProxyEvent>,
    sender: Sender<ProxyEvent>,
    _watcher: RecommendedWatcher,
}

impl Events {
    /// Starts to watch a directory and to handle SIGTERM, SIGINT and SIGHUP.
    pub fn start(directory: &Path) -> Result<Self> {
        let (sender, queue) = channel();
        forward_signals(sender.clone())?;
        let registry = sender.clone();
        let config = Config::default().with_follow_symlinks(false);
        let mut watcher = RecommendedWatcher::new(
            move |event: notify::Result<Event>| {
                // Reading the registry causes access events, which would cause another read.
                if !matches!(event, Ok(Event { kind: EventKind::Access(_), .. })) {
                    // Fails only after the main loop has ended.
                    let _ = registry.send(ProxyEvent::Registry);
                }
            },
            config,
        )
        .context("cannot watch files")?;
        watcher
            .watch(directory, RecursiveMode::NonRecursive)
            .with_context(|| format!("cannot watch {}", directory.display()))?;
        Ok(Self { queue, sender, _watcher: watcher })
    }

    /// Returns a sender to the queue.
    pub fn sender(&self) -> Sender<ProxyEvent> {
        self.sender.clone()
    }

    /// Waits for the next event; several changes of the registry become one.
    pub fn next(&self) -> Result<ProxyEvent> {
        let mut event = match self.queue.recv_timeout(POLL_INTERVAL) {
            Ok(event) => event,
            Err(RecvTimeoutError::Timeout) => ProxyEvent::Registry,
            Err(error @ RecvTimeoutError::Disconnected) => {
                return Err(error).context("the queue of events is closed");
            }
        };
        let latest = Instant::now() + MAX_DELAY;
        while event == ProxyEvent::Registry && Instant::now() < latest {
            match self.queue.recv_timeout(DEBOUNCE) {
                Ok(next) => event = next,
                Err(_) => break,
            }
        }
        Ok(event)
    }
}

/// Sends signals to the queue, from a thread that waits for them.
fn forward_signals(sender: Sender<ProxyEvent>) -> Result<()> {
    let signals = SigSet::from_iter([Signal::SIGTERM, Signal::SIGINT, Signal::SIGHUP]);
    // Blocked before any other thread exists, so that every thread inherits the mask.
    signals.thread_block().context("cannot install the signal handler")?;
    let forward = move || {
        while let Ok(signal) = signals.wait() {
            let event = if signal == Signal::SIGHUP { ProxyEvent::Templates } else { ProxyEvent::Stop };
            if sender.send(event).is_err() {
                return;
            }
        }
    };
    threads::start(forward)
}
