//! `/opt/NAME` is a directory: a link comes into its place.
//!
//! Where the kernel can exchange the two names, that is one step, and the directory becomes the image's own copy. A
//! directory of a lower layer of an overlay file system cannot be renamed at all. There, what was written since the copy
//! is carried over, and the directory is emptied; a kill in the middle leaves a part of it, and the next run goes on,
//! because the copy on the workspace is whole.

use std::fs::{self, File};
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::beneath;
use crate::carry::Carrier;
use crate::clock::Instant;
use crate::entrance;
use crate::holders::{self, Holder};
use crate::memory::Leftover;
use crate::tree::Tree;
use crate::walk;

/// Programs get this long to leave the directory alone, before anything is removed from it and afterwards.
const PATIENCE: Duration = Duration::from_secs(30);

/// What became of the directory.
#[derive(Debug, PartialEq, Eq)]
pub enum Replaced {
    /// It is the image's own copy now.
    Exchanged,
    /// It was emptied, and is gone.
    Emptied,
    /// It stays, for this reason, as a predicate.
    InUse(String),
}

/// Replaces the directory at the entrance of `tree` by a link to its copy.
///
/// Where it has to be emptied, nothing is removed while a program may write there through what it has open: that would
/// be lost. And not before everything in it is surely older than the copy, so that giving up leaves it as it was.
pub fn directory(tree: &Tree, carrier: &Carrier<'_>, leftover: &mut Option<Leftover>) -> Result<Replaced> {
    if exchange(tree)? {
        return Ok(Replaced::Exchanged);
    }
    if let Some(users) = users(tree) {
        return Ok(Replaced::InUse(users));
    }
    let is_settled = while_written(|| {
        let Some(leftover) = leftover.as_mut() else { return Ok(true) };
        carrier.round(leftover)?.complete()?;
        walk::is_older(&tree.entrance, leftover.source_since)
    })?;
    let is_replaced = is_settled
        && while_written(|| {
            if let Some(leftover) = leftover.as_mut() {
                carrier.round(leftover)?.complete()?;
            }
            // Without a memory of what was carried over, the copy is the truth: it was whole before anything was removed.
            let since = leftover.as_ref().map(|leftover| leftover.source_since);
            let emptied = empty(&beneath::open_root(&tree.entrance)?, since)
                .with_context(|| format!("cannot empty {}", tree.entrance.display()))?;
            if !emptied {
                return Ok(false);
            }
            match fs::remove_dir(&tree.entrance) {
                Ok(()) => entrance::point(tree, &tree.copy).map(|()| true),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
                Err(error) => {
                    Err(error).with_context(|| format!("cannot remove {}", tree.entrance.display()))
                }
            }
        })?;
    Ok(if is_replaced { Replaced::Emptied } else { Replaced::InUse("is written again and again".to_owned()) })
}

/// Asks until the answer is yes, and returns whether it was; programs that write to the directory again and again are why
/// it may never be.
fn while_written(mut ask: impl FnMut() -> Result<bool>) -> Result<bool> {
    let asked = kit::wait::until(PATIENCE, "programs", || match ask() {
        Ok(false) => None,
        answer => Some(answer),
    });
    asked.unwrap_or(Ok(false))
}

/// Returns which programs may write to the directory at the entrance, as a predicate; nothing if none does.
pub fn users(tree: &Tree) -> Option<String> {
    let (hidden, seen): (Vec<Holder>, Vec<Holder>) =
        holders::writers(&tree.entrance).into_iter().partition(|holder| holder.hidden);
    let names = |holders: &[Holder]| holders.iter().map(Holder::shown).collect::<Vec<_>>().join(", ");
    match (seen.as_slice(), hidden.as_slice()) {
        ([], []) => None,
        ([], hidden) => Some(format!("may be in use by {}, whose files are hidden", names(hidden))),
        (seen, _) => Some(format!("is in use by {}", names(seen))),
    }
}

/// One step, where the file system can.
fn exchange(tree: &Tree) -> Result<bool> {
    let cannot = || format!("cannot replace {}", tree.entrance.display());
    let aside = tree.entrance.with_file_name(format!(".{}.link-{}", tree.name, std::process::id()));
    let _ = fs::remove_file(&aside);
    if tree.image.symlink_metadata().is_ok() {
        return Ok(false);
    }
    symlink(&tree.copy, &aside).with_context(cannot)?;
    match renameat2(AT_FDCWD, &aside, AT_FDCWD, &tree.entrance, RenameFlags::RENAME_EXCHANGE) {
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
fn empty(directory: &OwnedFd, since: Option<Instant>) -> Result<bool, nix::Error> {
    let mut is_empty = true;
    let names = match walk::names(directory) {
        Err(error) if walk::is_elsewhere(&error) => return Ok(true),
        names => names.map_err(|error| errno(&error))?,
    };
    for base in names {
        let stat = match fstatat(directory, base.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::Error::ENOENT) => continue,
            stat => stat?,
        };
        let flag = if walk::kind(&stat) == SFlag::S_IFDIR {
            let emptied = match walk::open(directory, &base) {
                Err(error) if walk::is_elsewhere(&error) => continue,
                opened => empty(&opened.map_err(|error| errno(&error))?, since)?,
            };
            if !emptied {
                is_empty = false;
                continue;
            }
            UnlinkatFlags::RemoveDir
        } else if since.is_some_and(|since| Instant(stat.st_ctime, stat.st_ctime_nsec) >= since) {
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

fn errno(error: &io::Error) -> nix::Error {
    error.raw_os_error().map_or(nix::Error::EIO, nix::Error::from_raw)
}
