//! Finds out if an entry of the copy was written since the copy, and computes its permissions.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use dirfd::walk::Entry;
use nix::sys::stat::{FileStat, fstat};

use crate::copied_state::CopiedState;
use crate::merge_policy::{self, NewEntry, Permissions};
use crate::sync_state::{self, OwnWrite, PendingDelta};
use crate::tree_paths::TreePaths;
use crate::volume_clock::Timestamp;

/// Compares entries with the state of the copy before its first use.
#[derive(Debug)]
pub struct WriteCheck<'a> {
    state_dir: &'a Path,
    tree: &'a TreePaths,
    /// Loaded on demand, which is rare.
    copied: OnceCell<CopiedState>,
}

impl<'a> WriteCheck<'a> {
    /// Uses the stored state in `state_dir`.
    pub fn new(tree: &'a TreePaths, state_dir: &'a Path) -> Self {
        Self { state_dir, tree, copied: OnceCell::new() }
    }

    /// Returns the state of an entry in the new tree: missing, untouched or written.
    pub fn inspect(
        &self,
        name: &Path,
        above: &OwnedFd,
        base: &OsStr,
        leftover: &PendingDelta,
    ) -> Result<NewEntry> {
        let Some(stat) = dirfd::stat(above, base)? else { return Ok(NewEntry::Missing) };
        let now = OwnWrite::of(&stat);
        let is_untouched = now.changed < leftover.copy_since
            || leftover.written.get(&sync_state::key(name)).is_some_and(|ours| ours.is_still(&stat))
            || self.copied(leftover).has_content(name, &now.state);
        Ok(if is_untouched { NewEntry::Untouched } else { NewEntry::Written })
    }

    /// Returns the permissions of a file that was not written.
    pub fn permissions(&self, entry: &Entry<'_>, new: &File, leftover: &PendingDelta) -> Result<u32> {
        let stat = fstat(new)?;
        let ours = leftover.written.get(&sync_state::key(entry.name)).and_then(|ours| ours.permissions);
        let of = |stat: &FileStat, given: Option<u32>, is_as_before: bool| {
            let bits = stat.st_mode & 0o777;
            let as_copied = given.map_or_else(
                || is_as_before || self.copied(leftover).has_permissions(entry.name, bits),
                |given| given == bits,
            );
            Permissions { bits, as_copied }
        };
        let is_as_before = OwnWrite::of(&stat).changed < leftover.copy_since;
        Ok(merge_policy::permissions(
            of(&entry.stat, ours.map(|(old, _)| old), false),
            of(&stat, ours.map(|(_, new)| new), is_as_before),
        ))
    }

    fn copied(&self, leftover: &PendingDelta) -> &CopiedState {
        self.copied.get_or_init(|| CopiedState::load(self.state_dir, &self.tree.name, &leftover.copy))
    }
}

/// True if another program created the file after the copy: editors save a document to a new file and rename it.
/// Without a birth time, false. In a copy of another container every file counts as replaced, because appended lines
/// would damage the user's.
pub fn is_replaced(name: &Path, new: &File, leftover: &PendingDelta) -> bool {
    let Ok(meta) = new.metadata() else { return leftover.is_from_other_container() };
    let ours = leftover.written.get(&sync_state::key(name)).is_some_and(|ours| ours.inode == meta.ino());
    if leftover.is_from_other_container() {
        return !ours;
    }
    let since = meta.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let Some(made) = since.and_then(|made| Some((i64::try_from(made.as_secs()).ok()?, made.subsec_nanos())))
    else {
        return false;
    };
    !ours && Timestamp(made.0, i64::from(made.1)) > leftover.copy_since
}
