//! Notifications about changed logs, so that a new line is shown at once.

use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, poll};
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use tokio::sync::watch;

/// Pause after a notification; further changes within it are one.
const PAUSE: Duration = Duration::from_millis(20);
/// Interval at which the thread looks whether a viewer is left, in milliseconds.
const MAX_WAIT: u16 = 1_000;

/// Directories of logs, watched while anyone views them.
#[derive(Debug)]
pub struct LogEvents {
    directories: Vec<PathBuf>,
    current: Mutex<Weak<watch::Sender<()>>>,
}

impl LogEvents {
    /// Names the directories.
    pub fn new(directories: Vec<PathBuf>) -> Self {
        Self { directories, current: Mutex::default() }
    }

    /// Returns a receiver that changes with the logs. Without inotify, it never changes: viewers also read once a second.
    pub fn subscribe(&self) -> watch::Receiver<()> {
        let mut current = self.current.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(sender) = current.upgrade() {
            return sender.subscribe();
        }
        let (sender, receiver) = watch::channel(());
        let sender = Arc::new(sender);
        *current = Arc::downgrade(&sender);
        // The thread owns the sender: without it, a later viewer tries again.
        let started = self.watch().map_err(std::io::Error::from).and_then(|inotify| {
            let thread = std::thread::Builder::new().name("log events".to_owned());
            thread.spawn(move || notify(&inotify, &sender))
        });
        if let Err(error) = started {
            crate::log_limit::info(&anyhow::anyhow!("cannot watch the logs: {error}"));
        }
        receiver
    }

    fn watch(&self) -> nix::Result<Inotify> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        let changes = AddWatchFlags::IN_MODIFY
            | AddWatchFlags::IN_CREATE
            | AddWatchFlags::IN_MOVE
            | AddWatchFlags::IN_DELETE;
        for directory in &self.directories {
            // A directory may be missing.
            let _ = inotify.add_watch(directory, changes);
        }
        Ok(inotify)
    }
}

/// Notifies until no viewer is left.
fn notify(inotify: &Inotify, sender: &watch::Sender<()>) {
    while !sender.is_closed() {
        let mut descriptors = [PollFd::new(inotify.as_fd(), PollFlags::POLLIN)];
        if poll(&mut descriptors, MAX_WAIT).is_ok_and(|ready| ready > 0) {
            while inotify.read_events().is_ok_and(|events| !events.is_empty()) {}
            sender.send_replace(());
        }
        std::thread::sleep(PAUSE);
    }
}
