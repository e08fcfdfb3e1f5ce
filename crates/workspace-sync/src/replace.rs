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

use anyhow::{Context, Result, bail};
use nix::fcntl::{AT_FDCWD, RenameFlags, renameat2};
use walkdir::WalkDir;

use crate::carry::Carrier;
use crate::clock::Instant;
use crate::entrance;
use crate::memory::Leftover;
use crate::tree::Tree;

/// How often what programs still write is followed.
const ROUNDS: usize = 20;

/// Replaces the directory at the entrance of `tree` by a link to its copy.
pub fn directory(tree: &Tree, carrier: &Carrier<'_>, leftover: &mut Option<Leftover>) -> Result<()> {
    if exchange(tree)? {
        return Ok(());
    }
    for _ in 0..ROUNDS {
        if let Some(leftover) = leftover.as_mut() {
            carrier.round(leftover)?;
        }
        // Without a memory of what was carried over, the copy is the truth: it was whole before anything was removed.
        let since = leftover.as_ref().map(|leftover| leftover.source_since);
        if empty(&tree.entrance, since)? {
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
