//! Files of the source with several names, and their first names in the target.

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dirfd::Identity;

use crate::metadata::Metadata;
use crate::open_directories::WalkDirectory;

/// A name that waits until the first name of its file is copied; its directory counts it as pending.
#[derive(Debug)]
pub(crate) struct PendingName {
    pub directory: Arc<WalkDirectory>,
    pub name: CString,
}

/// Name of a file in the target that the source has under several names.
#[derive(Debug, Clone)]
pub(crate) struct FirstName {
    pub directory: Arc<WalkDirectory>,
    pub name: CString,
    /// Nothing if the target lacks the file and must not be changed.
    pub inode: Option<u64>,
}

#[derive(Debug)]
enum State {
    /// A worker copies it.
    Copying(Vec<PendingName>),
    Copied(FirstName),
}

#[derive(Debug)]
struct Entry {
    state: State,
    /// Number of names not visited yet; at 0 the entry is removed.
    names_left: u64,
}

/// Decision about a name.
#[derive(Debug)]
pub(crate) enum LinkDecision {
    /// The first one: copy the file, then call [`HardLinks::first_copied`] or [`HardLinks::first_vanished`].
    First,
    /// Link the name to this one.
    Link(FirstName),
    /// A worker copies the file and resumes this name afterwards.
    WaitForFirst,
}

/// Hard-linked files of the source, sharded by inode to reduce lock contention.
#[derive(Debug)]
pub(crate) struct HardLinks {
    parts: Vec<Mutex<HashMap<Identity, Entry>>>,
    /// Source file that each hard-linked file of the target stands for, by the target's inode.
    claimed: Vec<Mutex<HashMap<u64, Identity>>>,
}

const PARTS: u64 = 32;

impl HardLinks {
    pub fn new() -> Self {
        Self {
            parts: (0..PARTS).map(|_| Mutex::default()).collect(),
            claimed: (0..PARTS).map(|_| Mutex::default()).collect(),
        }
    }

    fn part(&self, identity: Identity) -> MutexGuard<'_, HashMap<Identity, Entry>> {
        lock(&self.parts, identity.1)
    }

    /// Registers a name of a hard-linked file and decides what to do with it.
    pub fn visit_name(&self, meta: &Metadata, directory: &Arc<WalkDirectory>, name: &CStr) -> LinkDecision {
        let mut part = self.part(meta.identity());
        let Some(entry) = part.get_mut(&meta.identity()) else {
            let names_left = meta.links.saturating_sub(1);
            part.insert(meta.identity(), Entry { state: State::Copying(vec![]), names_left });
            return LinkDecision::First;
        };
        match &mut entry.state {
            // Not counted yet: the name is visited again.
            State::Copying(waiting) => {
                waiting.push(PendingName { directory: Arc::clone(directory), name: name.to_owned() });
                LinkDecision::WaitForFirst
            }
            State::Copied(first) => {
                let first = first.clone();
                entry.names_left = entry.names_left.saturating_sub(1);
                if entry.names_left == 0 {
                    part.remove(&meta.identity());
                }
                LinkDecision::Link(first)
            }
        }
    }

    /// Records that the target has the file at `first`; returns the names that wait for it.
    pub fn first_copied(&self, meta: &Metadata, first: FirstName) -> Vec<PendingName> {
        let mut part = self.part(meta.identity());
        let Some(entry) = part.get_mut(&meta.identity()) else { return vec![] };
        match std::mem::replace(&mut entry.state, State::Copied(first)) {
            State::Copying(waiting) => waiting,
            State::Copied(_) => vec![],
        }
    }

    /// Forgets a file whose first name vanished; returns the names that wait for it.
    pub fn first_vanished(&self, meta: &Metadata) -> Vec<PendingName> {
        match self.part(meta.identity()).remove(&meta.identity()) {
            Some(Entry { state: State::Copying(waiting), .. }) => waiting,
            _ => vec![],
        }
    }

    /// True if the target's file may stand for this file of the source, because it stands for no other one.
    pub fn claim_target(&self, target_inode: u64, meta: &Metadata) -> bool {
        *lock(&self.claimed, target_inode).entry(target_inode).or_insert(meta.identity()) == meta.identity()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder below PARTS")]
fn lock<T>(parts: &[Mutex<T>], inode: u64) -> MutexGuard<'_, T> {
    parts[(inode % PARTS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
}
