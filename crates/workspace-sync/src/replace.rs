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

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, AtFlags, RenameFlags, renameat2};
use nix::sys::stat::{SFlag, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::beneath;
use crate::carry::Carrier;
use crate::clock::Instant;
use crate::entrance;
use crate::memory::Leftover;
use crate::tree::Tree;
use crate::walk;

/// How often what programs still write is followed.
const ROUNDS: usize = 20;

/// Replaces the directory at the entrance of `tree` by a link to its copy.
pub fn directory(tree: &Tree, carrier: &mut Carrier<'_>, leftover: &mut Option<Leftover>) -> Result<()> {
    if exchange(tree)? {
        return Ok(());
    }
    for _ in 0..ROUNDS {
        if let Some(leftover) = leftover.as_mut() {
            carrier.round(leftover)?;
        }
        // Without a memory of what was carried over, the copy is the truth: it was whole before anything was removed.
        let since = leftover.as_ref().map(|leftover| leftover.source_since);
        let emptied = empty(&beneath::open_root(&tree.entrance)?, since)
            .with_context(|| format!("cannot empty {}", tree.entrance.display()))?;
        if emptied {
            match fs::remove_dir(&tree.entrance) {
                Ok(()) => return entrance::point(tree, &tree.copy),
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                Err(error) => {
                    return Err(error).with_context(|| format!("cannot remove {}", tree.entrance.display()));
                }
            }
        }
    }
    bail!("programs keep writing to {}, so that it cannot be replaced", tree.entrance.display())
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
    for base in walk::names(directory).map_err(|error| errno(&error))? {
        let stat = match fstatat(directory, base.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::Error::ENOENT) => continue,
            stat => stat?,
        };
        let flag = if walk::kind(&stat) == SFlag::S_IFDIR {
            if !empty(&walk::open(directory, &base).map_err(|error| errno(&error))?, since)? {
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
