//! What is left to do: directories that were met and not yet opened, and files that one worker leaves to another.
//!
//! A parent's descriptor lives as long as something in it waits. What came last is taken first, so that few do.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use rustix::fs::FileType;

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

/// Files of a directory that another worker lists.
pub struct Files<P> {
    /// The directory.
    pub parent: Arc<OwnedFd>,
    /// Its path, for messages.
    pub path: PathBuf,
    /// Their names, what the listing says that they are, and how they are treated.
    pub names: Vec<(CString, FileType, P)>,
}

/// What one worker does without looking at the queue.
pub enum Work<P> {
    /// Dealing with a directory and listing it.
    Directory(Directory<P>),
    /// Dealing with some files, so that a large directory is not one worker's alone.
    Files(Files<P>),
}

/// What several workers take their work from and add to.
pub struct Queue<P> {
    state: Mutex<State<P>>,
    changed: Condvar,
    /// Whether somebody waits; read without the lock, because it is asked for each file.
    is_short: AtomicBool,
}

struct State<P> {
    waiting: Vec<Work<P>>,
    /// Workers that may still add something.
    busy: usize,
    stopped: bool,
}

impl<P> Default for Queue<P> {
    fn default() -> Self {
        let state = State { waiting: Vec::new(), busy: 0, stopped: false };
        Self { state: Mutex::new(state), changed: Condvar::new(), is_short: AtomicBool::new(false) }
    }
}

impl<P> Queue<P> {
    fn state(&self) -> MutexGuard<'_, State<P>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whether a worker waits for something to be added.
    pub fn is_short(&self) -> bool {
        self.is_short.load(Ordering::Relaxed)
    }

    /// Waits for work; nothing when none is left and none can come. Each is followed by [`Queue::done`].
    pub fn next(&self) -> Option<Work<P>> {
        let mut state = self.state();
        loop {
            if state.stopped {
                return None;
            }
            if let Some(work) = state.waiting.pop() {
                state.busy += 1;
                return Some(work);
            }
            if state.busy == 0 {
                return None;
            }
            self.is_short.store(true, Ordering::Relaxed);
            state = self.changed.wait(state).unwrap_or_else(PoisonError::into_inner);
        }
    }

    /// Adds what was found, and empties it.
    pub fn add(&self, found: &mut Vec<Work<P>>) {
        if !found.is_empty() {
            let mut state = self.state();
            state.waiting.append(found);
            // Who finds nothing in spite of it says so again.
            self.is_short.store(false, Ordering::Relaxed);
            self.changed.notify_all();
        }
    }

    /// What was taken has been dealt with.
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
