//! Files of the source with several names, and their first names in the target.

use std::collections::HashMap;
use std::ffi::CString;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use dirfd::Identity;

use crate::metadata::Metadata;
use crate::open_directories::WalkDirectory;

/// A name that waits until the first name of its file is there; its directory counts it as pending.
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
    /// None where the target lacks it and may not be changed.
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
    /// Names that have not come yet; at none the entry is forgotten.
    names_left: u64,
}

/// Decision about a name.
#[derive(Debug)]
pub(crate) enum LinkDecision {
    /// The first one: copy the file, then call [`HardLinks::first_copied`] or [`HardLinks::first_vanished`].
    First,
    /// Link it to this one.
    Link(FirstName),
    /// A worker copies the file and will come back to this name.
    WaitForFirst,
}

/// Split by inode, so that workers seldom meet and no part has to grow much at once.
#[derive(Debug)]
pub(crate) struct HardLinks {
    parts: Vec<Mutex<HashMap<Identity, Entry>>>,
    /// Files of the target, which it had before under several names, and the source's file that each now stands for.
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

    /// A name of a file with several has come.
    pub fn visit_name(&self, meta: &Metadata, directory: &Arc<WalkDirectory>, name: &CString) -> LinkDecision {
        let mut part = self.part(identity(meta));
        let Some(entry) = part.get_mut(&identity(meta)) else {
            let names_left = meta.links.saturating_sub(1);
            part.insert(identity(meta), Entry { state: State::Copying(vec![]), names_left });
            return LinkDecision::First;
        };
        match &mut entry.state {
            // Not counted yet: it will come again.
            State::Copying(waiting) => {
                waiting.push(PendingName { directory: Arc::clone(directory), name: name.clone() });
                LinkDecision::WaitForFirst
            }
            State::Copied(first) => {
                let first = first.clone();
                entry.names_left = entry.names_left.saturating_sub(1);
                if entry.names_left == 0 {
                    part.remove(&identity(meta));
                }
                LinkDecision::Link(first)
            }
        }
    }

    /// The target has the file at `first`; returns who waited for it.
    pub fn first_copied(&self, meta: &Metadata, first: FirstName) -> Vec<PendingName> {
        let mut part = self.part(identity(meta));
        let Some(entry) = part.get_mut(&identity(meta)) else { return vec![] };
        match std::mem::replace(&mut entry.state, State::Copied(first)) {
            State::Copying(waiting) => waiting,
            State::Copied(_) => vec![],
        }
    }

    /// The name that came first has gone; who waited is to come again.
    pub fn first_vanished(&self, meta: &Metadata) -> Vec<PendingName> {
        match self.part(identity(meta)).remove(&identity(meta)) {
            Some(Entry { state: State::Copying(waiting), .. }) => waiting,
            _ => vec![],
        }
    }

    /// Returns whether the target's file may stand for this file of the source: it must not stand for another one
    /// already.
    pub fn claim_target(&self, target_inode: u64, meta: &Metadata) -> bool {
        *lock(&self.claimed, target_inode).entry(target_inode).or_insert(identity(meta)) == identity(meta)
    }
}

fn identity(meta: &Metadata) -> Identity {
    (meta.device, meta.inode)
}

#[allow(clippy::cast_possible_truncation, reason = "a remainder below PARTS")]
fn lock<T>(parts: &[Mutex<T>], inode: u64) -> MutexGuard<'_, T> {
    parts[(inode % PARTS) as usize].lock().unwrap_or_else(PoisonError::into_inner)
}
