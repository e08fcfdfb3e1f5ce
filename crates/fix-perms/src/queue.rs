//! The directories that were met and not yet opened.
//!
//! A parent's descriptor lives as long as one of its subdirectories waits. What came last is taken first, so that few do.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

/// A directory that was met.
pub struct Directory<P> {
    /// What it is opened below.
    pub parent: Arc<OwnedFd>,
    /// Its name there.
    pub name: CString,
    /// Its path, for messages.
    pub path: PathBuf,
    /// How it is treated.
    pub place: P,
}

impl<P> Directory<P> {
    /// The directory `name` of the one at `path`.
    pub fn new(parent: &Arc<OwnedFd>, name: &CStr, path: &Path, place: P) -> Self {
        let path = path.join(OsStr::from_bytes(name.to_bytes()));
        Self { parent: Arc::clone(parent), name: name.to_owned(), path, place }
    }
}

/// What several workers take directories from and add to.
pub struct Queue<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
}

struct State<P> {
    waiting: Vec<Directory<P>>,
    /// Workers that may still add something.
    busy: usize,
    stopped: bool,
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        let state = State { waiting: Vec::new(), busy: 0, stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }
}

impl<P> Queue<P> {
    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a directory; nothing when none is left and none can come. Each is followed by [`Queue::done`].
    pub fn next(&self) -> Option<Directory<P>> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(directory) = state.waiting.pop() {
                state.busy += 1;
                return Some(directory);
            }
            if state.busy == 0 {
                return None;
            }
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds what was found, and empties it.
    pub fn add(&self, found: &mut Vec<Directory<P>>) {
        if !found.is_empty() {
            self.state().waiting.append(found);
            self.changed.notify_all();
        }
    }

    /// A directory that was taken has been dealt with.
    pub fn done(&self) {
        let mut state = self.state();
        state.busy -= 1;
        if state.busy == 0 {
            self.changed.notify_all();
        }
    }

    /// Ends the walk for all workers.
    pub fn stop(&self) {
        self.state().stopped = true;
        self.changed.notify_all();
    }
}
