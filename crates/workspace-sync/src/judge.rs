//! Finds out whether an entry of the copy was written since it was copied, and the permissions that follow from it.

use std::cell::OnceCell;
use std::ffi::OsStr;
use std::fs::File;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::time::UNIX_EPOCH;

use anyhow::Result;
use nix::sys::stat::{FileStat, fstat};

use crate::clock::Instant;
use crate::copied::AsCopied;
use crate::memory::{self, Leftover, Ours};
use crate::named;
use crate::settle::{self, New, Permissions};
use crate::tree::Tree;
use crate::walk::Entry;

/// Knows what the copy of a tree was like.
#[derive(Debug)]
pub struct Judge<'a> {
    memory: &'a Path,
    tree: &'a Tree,
    /// Read when it is asked for, which is seldom.
    copied: OnceCell<AsCopied>,
}

impl<'a> Judge<'a> {
    /// With what the container remembers in `memory`.
    pub fn new(tree: &'a Tree, memory: &'a Path) -> Self {
        Self { memory, tree, copied: OnceCell::new() }
    }

    /// Returns whether the new tree has the entry, and whether a program other than the copy has written it.
    pub fn look(&self, name: &Path, above: &OwnedFd, base: &OsStr, leftover: &Leftover) -> Result<New> {
        let Some(stat) = named::look(above, base)? else { return Ok(New::Missing) };
        let now = Ours::of(&stat);
        let is_untouched = now.changed < leftover.copy_since
            || leftover.written.get(&memory::key(name)).is_some_and(|ours| ours.is_still(&stat))
            || self.copied(leftover).has_content(name, &now.state);
        Ok(if is_untouched { New::Untouched } else { New::Written })
    }

    /// Returns the permissions of a file that was not written.
    pub fn permissions(&self, entry: &Entry<'_>, new: &File, leftover: &Leftover) -> Result<u32> {
        let stat = fstat(new)?;
        let ours = leftover.written.get(&memory::key(entry.name)).and_then(|ours| ours.permissions);
        let of = |stat: &FileStat, given: Option<u32>, is_as_before: bool| {
            let bits = stat.st_mode & 0o777;
            let as_copied = given.map_or_else(
                || is_as_before || self.copied(leftover).has_permissions(entry.name, bits),
                |given| given == bits,
            );
            Permissions { bits, as_copied }
        };
        let is_as_before = Ours::of(&stat).changed < leftover.copy_since;
        Ok(settle::permissions(
            of(&entry.stat, ours.map(|(old, _)| old), false),
            of(&stat, ours.map(|(_, new)| new), is_as_before),
        ))
    }

    fn copied(&self, leftover: &Leftover) -> &AsCopied {
        self.copied.get_or_init(|| AsCopied::load(self.memory, &self.tree.name, &leftover.copy))
    }
}

/// Returns whether a file was made after the copy, and not by us: programs that save a document make a new one and
/// rename it. Where the file system does not know the time of birth, the file counts as the old one. In a copy of
/// another time every file counts as replaced: lines added to the user's would be damage.
pub fn is_replaced(name: &Path, new: &File, leftover: &Leftover) -> bool {
    let Ok(meta) = new.metadata() else { return leftover.is_of_another_time() };
    let ours = leftover.written.get(&memory::key(name)).is_some_and(|ours| ours.inode == meta.ino());
    if leftover.is_of_another_time() {
        return !ours;
    }
    let since = meta.created().ok().and_then(|made| made.duration_since(UNIX_EPOCH).ok());
    let Some(made) = since.and_then(|made| Some((i64::try_from(made.as_secs()).ok()?, made.subsec_nanos())))
    else {
        return false;
    };
    !ours && Instant(made.0, i64::from(made.1)) > leftover.copy_since
}
