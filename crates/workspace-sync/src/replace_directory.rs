//! `/opt/NAME` is a directory: a link comes into its place.
//!
//! Where the kernel can exchange the two names, that is one step, and the directory becomes the image's own copy. A
//! directory of a lower layer of an overlay file system cannot be renamed at all. There, what was written since the
//! copy is carried over, and the directory is emptied; a kill in the middle leaves a part of it, and the next run goes
//! on, because the copy on the workspace is whole.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use dirfd::FileType;
use kit::process::Process;
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::sys::stat::fstatat;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::active_link;
use crate::changed_since::find_changed;
use crate::delta_sync::DeltaSync;
use crate::ensure_beneath::open_root;
use crate::holders::{self, Holder};
use crate::sync_state::PendingDelta;
use crate::tree_paths::TreePaths;
use crate::volume_clock::Timestamp;

/// Programs get this long to leave the directory alone, before anything is removed from it and afterwards.
const LOCK_TIMEOUT: Duration = Duration::from_secs(30);

/// Programs of the image's own lie here. They read directories, and need nothing of them afterwards.
const OURS: &str = "/opt/leonardo/bin";

/// Result of replacing the directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is the image's own copy now.
    Exchanged,
    /// It was emptied, and is gone.
    Emptied,
    /// It stays, for this reason, as a predicate.
    InUse(String),
    /// It stays for now, for this reason, as a predicate.
    Unfinished(String),
}

/// Replaces the directory at the active link of `tree` by a link to its copy.
///
/// Where it has to be emptied, nothing is removed while a program uses it: what it writes through what it has open
/// would be lost, and what it reads next would be missing. And not before everything in it is surely older than the
/// copy, so that giving up leaves it as it was. Once something is removed, only a program that may write is waited for:
/// the whole copy is what helps all others.
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
        // Without a memory of what was carried over, the copy is the truth: it was whole before anything was removed.
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

/// Asks until there is an answer, and returns none if programs write to the directory again and again.
fn while_written<T>(mut ask: impl FnMut() -> Result<Option<T>>) -> Result<Option<T>> {
    kit::wait::until(LOCK_TIMEOUT, "programs", || ask().transpose())
        .map_or(Ok(None), |answer| answer.map(Some))
}

/// Returns which programs use the directory at the active link, or may, as a predicate; nothing if none does.
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

/// One step, where the file system can.
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

/// Removes everything in `directory` that did not change at or after `since`; returns whether nothing is left.
fn empty(directory: &OwnedFd, since: Option<Timestamp>) -> Result<bool, nix::Error> {
    let mut is_empty = true;
    let names = match dirfd::names(directory) {
        Err(error) if dirfd::is_absent(error) => return Ok(true),
        names => names?,
    };
    for base in names {
        let stat = match fstatat(directory, base.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::Error::ENOENT) => continue,
            stat => stat?,
        };
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
