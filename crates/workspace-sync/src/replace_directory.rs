//! Replaces the directory `/opt/NAME` by a link.
//!
//! If the kernel can exchange the two names, that is one step, and the directory becomes the image's copy. A directory
//! of a lower layer of an overlay cannot be renamed. Then the changes since the copy are copied, and the directory is
//! emptied; if that is interrupted, the next run continues, because the copy on the workspace is complete.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use dirfd::FileType;
use kit::process::Process;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::active_link;
use crate::changed_since::find_changed;
use crate::delta_sync::DeltaSync;
use crate::ensure_beneath::open_root;
use crate::holders::{self, Holder};
use crate::sync_state::PendingDelta;
use crate::tree_paths::TreePaths;
use crate::volume_clock::Timestamp;

/// Time that programs get to stop writing to the directory, both before its first removal and afterwards.
const WRITERS_TIMEOUT: Duration = Duration::from_secs(30);

/// Programs of the image. They only read directories and keep nothing of them.
const OURS: &str = "/opt/leonardo/bin";

/// Result of replacing the directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is the image's copy now.
    Exchanged,
    /// It was emptied and removed.
    Emptied,
    /// It stays, for this reason, as a predicate.
    InUse(String),
    /// It stays for now, for this reason, as a predicate.
    Unfinished(String),
}

/// Replaces the directory at the active link of `tree` by a link to its copy.
///
/// If it must be emptied, nothing is removed while a program uses it, because the program would lose its writes and
/// miss its files; and not before all changes are copied, so that giving up leaves the directory unchanged. After the
/// first removal, only programs that may write delay it: the complete copy serves all others.
pub fn directory(
    tree: &TreePaths,
    delta_sync: &DeltaSync<'_>,
    leftover: &mut Option<PendingDelta>,
) -> Result<Replaced> {
    if exchange(tree)? {
        return Ok(Replaced::Exchanged);
    }
    if let Some(users) = users(tree) {
        return Ok(Replaced::InUse(users));
    }
    let finished = while_written(|| {
        let Some(leftover) = leftover.as_mut() else { return Ok(Some(())) };
        delta_sync.round(leftover)?.complete()?;
        Ok(find_changed(&tree.active_link, leftover.source_since..)?.is_none().then_some(()))
    })?;
    if finished.is_none() {
        return Ok(Replaced::Unfinished("is being written to continuously".to_owned()));
    }
    let mut is_begun = false;
    let replaced = while_written(|| {
        if let Some(leftover) = leftover.as_mut() {
            delta_sync.round(leftover)?.complete()?;
        }
        // A program may have started during the rounds.
        if is_begun {
            if !holders::find_writers(&tree.active_link).is_empty() {
                return Ok(None);
            }
        } else if let Some(users) = users(tree) {
            return Ok(Some(Replaced::InUse(users)));
        }
        is_begun = true;
        // Without a record of copied changes, the copy is authoritative: it was complete before the first removal.
        let since = leftover.as_ref().map(|leftover| leftover.source_since);
        let emptied = empty(&open_root(&tree.active_link)?, since)
            .with_context(|| format!("cannot empty {}", tree.active_link.display()))?;
        if !emptied {
            return Ok(None);
        }
        match fs::remove_dir(&tree.active_link) {
            Ok(()) => active_link::switch_to(tree, &tree.copy).map(|()| Some(Replaced::Emptied)),
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(None),
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", tree.active_link.display())),
        }
    })?;
    Ok(replaced.unwrap_or_else(|| {
        Replaced::Unfinished(
            "is being written to continuously, and a part of it is removed already".to_owned(),
        )
    }))
}

/// Repeats `ask` until it returns a value; nothing if programs keep writing to the directory.
fn while_written<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    kit::wait::until(WRITERS_TIMEOUT, "programs", || ask().transpose())
        .map_or(Ok(None), |answer| answer.map(Some))
}

/// Returns the programs that use the directory at the active link, or may, as a predicate; nothing if there are none.
fn users(tree: &TreePaths) -> Option<String> {
    let is_ours =
        |holder: &Holder| Process::new(holder.pid).program().is_ok_and(|program| program.starts_with(OURS));
    let (hidden, seen): (Vec<Holder>, Vec<Holder>) = holders::find_holders(&tree.active_link)
        .into_iter()
        .filter(|holder| holder.writes || !is_ours(holder))
        .partition(|holder| holder.hidden);
    let names = |holders: &[Holder]| holders.iter().map(Holder::description).collect::<Vec<_>>().join(", ");
    match (seen.as_slice(), hidden.as_slice()) {
        ([], []) => None,
        ([], hidden) => {
            Some(format!("may be in use by {}, whose open files cannot be inspected", names(hidden)))
        }
        (seen, _) => Some(format!("is in use by {}", names(seen))),
    }
}

/// Exchanges link and directory in one step; false if the file system cannot.
fn exchange(tree: &TreePaths) -> Result<bool> {
    let cannot = || format!("cannot replace {}", tree.active_link.display());
    let aside = tree.active_link.with_file_name(format!(".{}.link-{}", tree.name, std::process::id()));
    let _ = fs::remove_file(&aside);
    if tree.image.symlink_metadata().is_ok() {
        return Ok(false);
    }
    symlink(&tree.copy, &aside).with_context(cannot)?;
    match renameat2(AT_FDCWD, &aside, AT_FDCWD, &tree.active_link, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => {
            let images = tree.image.parent().unwrap_or(Path::new("/"));
            fs::create_dir_all(images).and_then(|()| fs::rename(&aside, &tree.image)).with_context(cannot)?;
            File::open(images).and_then(|images| images.sync_all()).with_context(cannot)?;
            Ok(true)
        }
        Err(nix::Error::EXDEV | nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {
            fs::remove_file(&aside).with_context(cannot)?;
            Ok(false)
        }
        Err(error) => Err(error).with_context(cannot),
    }
}

/// Removes everything in `directory` that did not change at or after `since`; returns true if it is empty.
fn empty(directory: &OwnedFd, since: Option<Timestamp>) -> Result<bool, nix::Error> {
    let mut is_empty = true;
    let names = match dirfd::names(directory) {
        Err(error) if dirfd::is_absent(error) => return Ok(true),
        names => names?,
    };
    for base in names {
        let Some(stat) = dirfd::stat(directory, base.as_os_str())? else { continue };
        let flag = if dirfd::file_type(&stat) == FileType::Directory {
            let emptied = match dirfd::open_dir(directory, base.as_os_str()) {
                Err(error) if dirfd::is_absent(error) => continue,
                opened => empty(&opened?, since)?,
            };
            if !emptied {
                is_empty = false;
                continue;
            }
            UnlinkatFlags::RemoveDir
        } else if since.is_some_and(|since| Timestamp::change_time(&stat) >= since) {
            is_empty = false;
            continue;
        } else {
            UnlinkatFlags::NoRemoveDir
        };
        match unlinkat(directory, base.as_os_str(), flag) {
            Ok(()) | Err(nix::Error::ENOENT) => {}
            Err(nix::Error::ENOTEMPTY | nix::Error::EEXIST) => is_empty = false,
            Err(error) => return Err(error),
        }
    }
    Ok(is_empty)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// The table of mounts was read before: this one came later.
    #[test]
    fn what_is_mounted_in_a_directory_while_it_is_emptied_keeps_its_content() {
        struct Bound<'a>(&'a Path);
        impl Drop for Bound<'_> {
            fn drop(&mut self) {
                let _ = Command::new("umount").arg("--lazy").arg(self.0).status();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (models, tree) = (dir.path().join("models"), dir.path().join("tree"));
        let place = tree.join("data");
        fs::create_dir_all(&models).unwrap();
        fs::create_dir_all(&place).unwrap();
        fs::write(models.join("precious"), "x").unwrap();
        assert!(Command::new("mount").arg("--bind").args([&models, &place]).status().unwrap().success());
        let bound = Bound(&place);
        assert_eq!(empty(&open_root(&tree).unwrap(), None), Err(nix::Error::EXDEV));
        assert!(models.join("precious").exists());
        drop(bound);
        assert_eq!(empty(&open_root(&tree).unwrap(), None), Ok(true));
    }
}
