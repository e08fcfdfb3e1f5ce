//! Open files and directories, by their handles.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::FileHandle;
use rustix::io::Errno;

use crate::Answer;

/// Open things of one kind.
#[derive(Debug)]
pub struct Handles<T> {
    open: Mutex<HashMap<u64, Arc<T>>>,
    next: AtomicU64,
}

impl<T> Handles<T> {
    pub fn new() -> Self {
        Self { open: Mutex::default(), next: AtomicU64::new(1) }
    }

    pub fn add(&self, opened: T) -> FileHandle {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        self.open().insert(number, Arc::new(opened));
        FileHandle(number)
    }

    pub fn get(&self, handle: FileHandle) -> Answer<Arc<T>> {
        self.open().get(&handle.0).cloned().ok_or(Errno::BADF)
    }

    pub fn close(&self, handle: FileHandle) {
        self.open().remove(&handle.0);
    }

    fn open(&self) -> MutexGuard<'_, HashMap<u64, Arc<T>>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
