//! State of a copy's entries before its first use. It separates files written since from files that only got another
//! access list, as `fix-perms` sets in a new copy, and changes of the old tree from changes of both trees.
//!
//! `NAME.copied`, in the container's state directory: the identity of the copy, and two digests of eight bytes for each
//! entry (one of its content as sizes and times show it, one of its permissions), in ascending order.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use dirfd::FileType;
use dirfd::walk::{self, Descend};
use kit::atomic::{self, WriteOptions};
use nix::sys::stat::{FileStat, SFlag};
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::volume_clock::Timestamp;

/// The part of an entry that a write changes, and its permissions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct EntryState {
    /// As in `S_IFMT` of inode(7).
    pub kind: u32,
    /// The bits for owner, group and others.
    pub permissions: u32,
    /// In bytes; a directory has none.
    pub size: u64,
    /// By the clock of its file system, unless a program set it.
    pub modified: Timestamp,
}

impl EntryState {
    /// Returns the state of an entry.
    pub fn of(stat: &FileStat) -> Self {
        let kind = stat.st_mode & SFlag::S_IFMT.bits();
        let is_directory = dirfd::file_type(stat) == FileType::Directory;
        Self {
            kind,
            permissions: stat.st_mode & 0o777,
            size: if is_directory { 0 } else { stat.st_size.unsigned_abs() },
            modified: Timestamp::modify_time(stat),
        }
    }

    /// True if size, time and type are equal.
    #[must_use]
    pub fn has_content_of(&self, other: &Self) -> bool {
        Self { permissions: other.permissions, ..*self } == *other
    }

    fn content(&self, name: &Path) -> u64 {
        let Self { kind, size, modified: Timestamp(seconds, nanoseconds), .. } = self;
        digest(name, &format!("content {kind} {size} {seconds} {nanoseconds}"))
    }
}

/// All entries of a copy.
#[derive(Debug, Default)]
pub struct CopiedState(Vec<u64>);

impl CopiedState {
    /// Reads the copy at `root`; names in `keep`, at the top, are not part of the tree.
    pub fn of(root: impl AsFd, keep: &[&OsStr]) -> Result<Self> {
        let mut digests = Vec::new();
        walk::walk_tree::<io::Error>(root, &mut |entry| {
            if entry.name.as_os_str() == entry.base && keep.contains(&entry.base) {
                return Ok(Descend::Skip);
            }
            let state = EntryState::of(&entry.stat);
            digests.extend([state.content(entry.name), permissions(entry.name, state.permissions)]);
            Ok(Descend::Enter)
        })
        .context("cannot read the copy")?;
        digests.sort_unstable();
        Ok(Self(digests))
    }

    /// Stores the state of the copy with this identity.
    pub fn store(&self, state_dir: &Path, tree: &str, copy: &str) -> Result<()> {
        let digests = self.0.iter().flat_map(|digest| digest.to_be_bytes());
        let content: Vec<u8> = copy.bytes().chain([b'\n']).chain(digests).collect();
        atomic::write(&file(state_dir, tree), &content, WriteOptions::durable(0o644))
    }

    /// Loads the state of the copy with this identity. If there is none, any change counts as a written file.
    #[must_use]
    pub fn load(state_dir: &Path, tree: &str, copy: &str) -> Self {
        let content = fs::read(file(state_dir, tree)).unwrap_or_default();
        let digests = content.strip_prefix(copy.as_bytes()).and_then(|rest| rest.strip_prefix(b"\n"));
        let (digests, _) = digests.unwrap_or_default().as_chunks::<8>();
        Self(digests.iter().map(|bytes| u64::from_be_bytes(*bytes)).collect())
    }

    /// Removes the stored state.
    pub fn forget(state_dir: &Path, tree: &str) {
        // A file that stays is harmless: the next copy's replaces it.
        let _ = fs::remove_file(file(state_dir, tree));
    }

    /// True if the entry was copied with this content.
    #[must_use]
    pub fn has_content(&self, name: &Path, state: &EntryState) -> bool {
        self.0.binary_search(&state.content(name)).is_ok()
    }

    /// True if the entry was copied with these permissions.
    #[must_use]
    pub fn has_permissions(&self, name: &Path, bits: u32) -> bool {
        self.0.binary_search(&permissions(name, bits)).is_ok()
    }
}

fn file(state_dir: &Path, tree: &str) -> PathBuf {
    state_dir.join(format!("{tree}.copied"))
}

fn permissions(name: &Path, bits: u32) -> u64 {
    digest(name, &format!("permissions {bits}"))
}

fn digest(name: &Path, what: &str) -> u64 {
    // No name has a zero byte.
    let digest = Sha256::new().chain_update(what).chain_update([0]).chain_update(name.as_os_str().as_bytes());
    digest.finalize().iter().take(8).fold(0, |number, &byte| number << 8 | u64::from(byte))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{File, Permissions};
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn what_was_written_is_told_from_what_has_other_permissions() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("copy");
        fs::create_dir(&root).unwrap();
        for name in ["a", "b", "ours"] {
            fs::write(root.join(name), name).unwrap();
            fs::set_permissions(root.join(name), Permissions::from_mode(0o644)).unwrap();
        }
        let open = || File::open(&root).unwrap();
        CopiedState::of(open(), &[OsStr::new("ours")]).unwrap().store(dir.path(), "x", "m-1").unwrap();
        let copied = CopiedState::load(dir.path(), "x", "m-1");
        fs::set_permissions(root.join("a"), Permissions::from_mode(0o664)).unwrap();
        fs::write(root.join("b"), "longer").unwrap();
        let kept = |copied: &CopiedState, name: &str| {
            let state = EntryState::of(&nix::sys::stat::lstat(&root.join(name)).unwrap());
            let name = Path::new(name);
            (copied.has_content(name, &state), copied.has_permissions(name, state.permissions))
        };
        assert_eq!(kept(&copied, "a"), (true, false));
        assert_eq!(kept(&copied, "b"), (false, true));
        assert_eq!(kept(&copied, "ours"), (false, false));
        let other = CopiedState::load(dir.path(), "x", "m-2");
        assert_eq!(kept(&other, "a"), (false, false), "it says nothing about another copy");
        CopiedState::forget(dir.path(), "x");
        assert_eq!(kept(&CopiedState::load(dir.path(), "x", "m-1"), "a"), (false, false));
    }
}
