//! `/opt/NAME` is a directory: a link comes into its place.
//!
//! Where the kernel can exchange the two names, that is one step, and the directory becomes the image's own copy. A
//! directory of a lower layer of an overlay file system cannot be renamed at all. There, what was written since the copy
//! is carried over, and the directory is emptied; a kill in the middle leaves a part of it, and the next run goes on,
//! because the copy on the workspace is whole.

use std::fs::{self, File};
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use kit::HintExt;
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use walkdir::WalkDir;

use crate::carry::Carrier;
use crate::clock::Instant;
use crate::entrance;
use crate::holders;
use crate::memory::Leftover;
use crate::tree::Tree;

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
        carrier.round(leftover)?;
        is_older(&tree.entrance, leftover.source_since)
    })?;
    while_written(tree, || {
        if let Some(leftover) = leftover.as_mut() {
            carrier.round(leftover)?;
        }
        // Without a memory of what was carried over, the copy is the truth: it was whole before anything was removed.
        let since = leftover.as_ref().map(|leftover| leftover.source_since);
        if !empty(&tree.entrance, since)? {
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
    let holders = holders::of(&tree.entrance);
    let writers: Vec<String> = holders
        .iter()
        .filter(|holder| holder.writes)
        .map(|holder| format!("{} ({})", holder.name, holder.pid))
        .collect();
    if writers.is_empty() {
        return Ok(());
    }
    let entrance = tree.entrance.display();
    Err(anyhow!("{entrance} is in use by {}, so that it cannot be replaced", writers.join(", ")))
        .hint(stop_them)
}

fn stop_them() -> String {
    "stop them and type: workspace-sync run".to_owned()
}

/// Whether nothing in `root` changed at or after `since`.
fn is_older(root: &Path, since: Instant) -> Result<bool> {
    for entry in WalkDir::new(root).min_depth(1).follow_links(false).same_file_system(true) {
        let entry = match entry {
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                return Ok(false);
            }
            entry => entry.with_context(|| format!("cannot read {}", root.display()))?,
        };
        if entry.metadata().is_ok_and(|meta| Instant::changed(&meta) >= since) {
            return Ok(false);
        }
    }
    Ok(true)
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

/// Removes everything in `root` that did not change at or after `since`; returns whether nothing is left.
fn empty(root: &Path, since: Option<Instant>) -> Result<bool> {
    let mut is_empty = true;
    let entries =
        WalkDir::new(root).min_depth(1).contents_first(true).follow_links(false).same_file_system(true);
    for entry in entries {
        let entry = match entry {
            Err(error) if error.io_error().is_some_and(|error| error.kind() == io::ErrorKind::NotFound) => {
                continue;
            }
            entry => entry.with_context(|| format!("cannot read {}", root.display()))?,
        };
        let Ok(meta) = entry.metadata() else { continue };
        let removed = if meta.is_dir() {
            fs::remove_dir(entry.path())
        } else if since.is_some_and(|since| Instant::changed(&meta) >= since) {
            is_empty = false;
            continue;
        } else {
            fs::remove_file(entry.path())
        };
        match removed {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => is_empty = false,
            Err(error) => {
                return Err(error).with_context(|| format!("cannot remove {}", entry.path().display()));
            }
        }
    }
    Ok(is_empty)
}
