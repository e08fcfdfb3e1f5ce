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

use anyhow::{Context, Result, anyhow};
use kit::HintExt;
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
use crate::walk::{self, Next};

/// Programs get this long to leave the directory alone, before anything is removed from it and afterwards.
const PATIENCE: Duration = Duration::from_secs(30);

/// Replaces the directory at the entrance of `tree` by a link to its copy; returns whether it is the image's copy now.
///
/// Where it has to be emptied, nothing is removed while a program may write there through what it has open: that would
/// be lost. And not before everything in it is surely older than the copy, so that giving up leaves it as it was.
pub fn directory(tree: &Tree, carrier: &Carrier<'_>, leftover: &mut Option<Leftover>) -> Result<bool> {
    if exchange(tree)? {
        return Ok(true);
    }
    refuse_while_used(tree)?;
    while_written(tree, || {
        let Some(leftover) = leftover.as_mut() else { return Ok(true) };
        carrier.round(leftover)?.complete()?;
        is_older(&tree.entrance, leftover.source_since)
    })?;
    while_written(tree, || {
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
            Err(error) => Err(error).with_context(|| format!("cannot remove {}", tree.entrance.display())),
        }
    })?;
    Ok(false)
}

/// Asks until the answer is yes; programs that write to the directory again and again are why it may never be.
fn while_written(tree: &Tree, mut ask: impl FnMut() -> Result<bool>) -> Result<()> {
    let asked = kit::wait::until(PATIENCE, "programs", || match ask() {
        Ok(false) => None,
        answer => Some(answer.map(drop)),
    });
    asked.unwrap_or_else(|_| {
        Err(anyhow!("programs keep writing to {}, so that it cannot be replaced", tree.entrance.display()))
            .hint(stop_them)
    })
}

fn refuse_while_used(tree: &Tree) -> Result<()> {
    let (hidden, seen): (Vec<Holder>, Vec<Holder>) =
        holders::writers(&tree.entrance).into_iter().partition(|holder| holder.hidden);
    let entrance = tree.entrance.display();
    let names = |holders: &[Holder]| holders.iter().map(Holder::shown).collect::<Vec<_>>().join(", ");
    let cause = match (seen.as_slice(), hidden.as_slice()) {
        ([], []) => return Ok(()),
        ([], hidden) => format!("{entrance} may be in use by {}, whose files are hidden", names(hidden)),
        (seen, _) => format!("{entrance} is in use by {}", names(seen)),
    };
    Err(anyhow!("{cause}, so that it cannot be replaced")).hint(stop_them)
}

fn stop_them() -> String {
    "stop them and type: workspace-sync run".to_owned()
}

/// Whether nothing in `root` changed at or after `since`.
fn is_older(root: &Path, since: Instant) -> Result<bool> {
    let mut is_older = true;
    walk::each::<io::Error>(beneath::open_root(root)?, &mut |entry| {
        is_older &= entry.changed() < since;
        Ok(if is_older { Next::Enter } else { Next::Skip })
    })
    .with_context(|| format!("cannot read {}", root.display()))?;
    Ok(is_older)
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
