//! Makes ACL changes in batches: each call of libacl looks the user up in `/etc/passwd`, nine system calls besides the one
//! that makes the change.

use std::io;
use std::mem;
use std::path::PathBuf;

use crate::change::Change;
use crate::entry_handle::{self, EntryHandle};

/// Number of changes in a batch; each keeps a descriptor open.
pub const SIZE: usize = 64;

/// An ACL change that is not made yet.
#[derive(Debug)]
pub struct PendingAcl {
    /// The entry to change.
    pub handle: EntryHandle,
    /// Path of the entry, as found by the walk.
    pub path: PathBuf,
    /// The change of its ACL.
    pub change: Change,
}

/// Pending changes of ACLs.
#[derive(Debug, Default)]
pub struct AclBatch(Vec<PendingAcl>);

impl AclBatch {
    /// Adds a change; true if the batch is full.
    pub fn add(&mut self, pending: PendingAcl) -> bool {
        self.0.push(pending);
        self.0.len() >= SIZE
    }

    /// Makes the pending changes, and reports the result of each.
    pub fn flush(&mut self, mut report: impl FnMut(&PendingAcl, io::Result<()>)) {
        let mut rest = mem::take(&mut self.0);
        while let Some(first) = rest.first() {
            let change = first.change.clone();
            let (same, others) = rest.into_iter().partition::<Vec<_>, _>(|pending| pending.change == change);
            rest = others;
            if entry_handle::set_acls(same.iter().map(|pending| &pending.handle), &change).is_ok() {
                same.iter().for_each(|pending| report(pending, Ok(())));
            } else {
                // The error names no entry, and the entries after the failed one were not changed.
                for pending in &same {
                    report(pending, entry_handle::set_acls(std::iter::once(&pending.handle), &change));
                }
            }
        }
    }
}
