//! Copies the user's work from a copy into another generation of it.
//!
//! Entries that differ from the old generation's image are the user's: new names, files written since, and possible
//! entries of the container's first programs. The new generation's entries keep their names. If both have a name with
//! different content, the user's entry becomes `NAME.before-refresh`.

use std::cell::{Cell, RefCell};
use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path, PathBuf};

use anyhow::{Context, Result};
use dirfd::FileType;
use dirfd::walk::{self, Descend, Entry};
use nix::errno::Errno;
use nix::sys::stat::{FileStat, Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown};
use tree_copy::{Capabilities, NoObserver};

use crate::copy_job::ReadyCopy;
use crate::directory_entry;
use crate::image_listing::{ImageBase, PYCACHE, Provenance};
use crate::merge_policy::{self, Relation};
use crate::reserved_names;

/// Suffix of a user's entry whose name the image has.
const SUFFIX: &str = ".before-refresh";

/// The copy in use, and the generation that is to replace it.
#[derive(Debug)]
pub struct UserAdditions<'a> {
    /// The root of the copy in use.
    pub old: OwnedFd,
    /// Path of the copy in use, for messages.
    pub shown: &'a Path,
    /// Listing of the copy's own generation.
    pub base: ImageBase,
    /// The new generation.
    pub prepared: &'a ReadyCopy,
    /// Capabilities of the volume.
    pub capabilities: Capabilities,
    /// Number of copied entries; a new directory and its content count as one.
    pub copied: Cell<u64>,
    /// Renamed entries of the user, relative to the root.
    pub beside: RefCell<Vec<PathBuf>>,
}

/// Error of the walk over the copy in use.
struct WalkError(anyhow::Error);

impl From<Errno> for WalkError {
    fn from(error: Errno) -> Self {
        Self(io::Error::from(error).into())
    }
}

impl UserAdditions<'_> {
    /// Copies everything.
    pub fn copy(&self) -> Result<()> {
        let walked = walk::walk_tree(&self.old, &mut |entry| {
            self.entry(entry)
                .with_context(|| format!("cannot copy {}", self.shown.join(entry.name).display()))
                .map_err(WalkError)
        });
        walked.map_err(|WalkError(error)| error)
    }

    fn entry(&self, entry: &Entry<'_>) -> Result<Descend> {
        let is_ours = entry.name.as_os_str() == entry.base && reserved_names::all().contains(&entry.base);
        // Temporary entries of a killed process, and files that Python creates again. A directory of the user is copied
        // with all its content.
        if is_ours || tree_copy::is_temporary(entry.base) || entry.base == PYCACHE {
            return Ok(Descend::Skip);
        }
        let provenance = self.base.provenance(entry);
        match (provenance, entry.is_directory()) {
            (Provenance::Image, _) => return Ok(Descend::Enter),
            // A directory of the image with new entries, or one of the first programs.
            (Provenance::Unknown, true) => {
                self.prepared.check()?;
                self.directory(entry.name)?;
                return Ok(Descend::Enter);
            }
            _ => {}
        }
        self.prepared.check()?;
        let place = self.directory(entry.name.parent().unwrap_or(Path::new("")))?;
        match dirfd::stat(&place, entry.base)? {
            None => self.replicate(entry, &place, entry.base)?,
            Some(found) if entry.is_directory() && dirfd::file_type(&found) == FileType::Directory => {
                return Ok(Descend::Enter);
            }
            Some(found) if is_same(entry, &place, entry.base, &found)? => {}
            Some(_) => self.put_beside(entry, &place)?,
        }
        Ok(Descend::Skip)
    }

    fn put_beside(&self, entry: &Entry<'_>, place: &OwnedFd) -> Result<()> {
        for number in 1_u32.. {
            let base = directory_entry::suffixed_name(entry.base, number, SUFFIX);
            match dirfd::stat(place, base.as_os_str())? {
                None => self.replicate(entry, place, &base)?,
                Some(found) if is_same(entry, place, &base, &found)? => {}
                Some(_) => continue,
            }
            self.beside.borrow_mut().push(entry.name.with_file_name(base));
            break;
        }
        Ok(())
    }

    fn replicate(&self, entry: &Entry<'_>, place: &OwnedFd, base: &OsStr) -> Result<()> {
        let capabilities = &self.capabilities;
        tree_copy::replicate(entry.directory, entry.base, place.as_fd(), base, capabilities, &NoObserver)?;
        self.copied.set(self.copied.get() + 1);
        Ok(())
    }

    /// Opens a directory of the new generation; creates one that only the old copy has. If the new generation has a
    /// file or link of that name, the directory gets a name beside it.
    fn directory(&self, name: &Path) -> Result<OwnedFd> {
        let mut directory = self.prepared.directory.try_clone()?;
        let mut old = self.old.try_clone()?;
        for step in name.components() {
            let Component::Normal(base) = step else { continue };
            old = dirfd::open_dir(&old, base).map_err(io::Error::from)?;
            directory = self.step(&directory, base, &old)?;
        }
        Ok(directory)
    }

    fn step(&self, directory: &OwnedFd, base: &OsStr, old: &OwnedFd) -> Result<OwnedFd> {
        for number in 0_u32.. {
            let base = if number == 0 {
                base.to_owned()
            } else {
                directory_entry::suffixed_name(base, number, SUFFIX)
            };
            match dirfd::stat(directory, base.as_os_str())? {
                Some(found) if dirfd::file_type(&found) == FileType::Directory => {
                    return Ok(dirfd::open_dir(directory, base.as_os_str()).map_err(io::Error::from)?);
                }
                Some(_) => {}
                None => {
                    mkdirat(directory, base.as_os_str(), Mode::from_bits_truncate(0o700))?;
                    let made = dirfd::open_dir(directory, base.as_os_str()).map_err(io::Error::from)?;
                    let meta = File::from(old.try_clone()?).metadata()?;
                    // Volumes without owners or modes refuse; the directory is usable anyway.
                    let (user, group) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
                    let _ = fchown(&made, Some(user), Some(group));
                    let _ = fchmod(&made, Mode::from_bits_truncate(meta.mode() & 0o7777));
                    self.copied.set(self.copied.get() + 1);
                    return Ok(made);
                }
            }
        }
        Ok(dirfd::open_beneath(directory, Path::new(base)).map_err(io::Error::from)?)
    }
}

/// True if the entry of this name in the new generation, `found`, has the same content.
fn is_same(entry: &Entry<'_>, place: &OwnedFd, base: &OsStr, found: &FileStat) -> Result<bool> {
    if dirfd::file_type(found) != entry.kind() || entry.is_directory() {
        return Ok(false);
    }
    if entry.kind() != FileType::RegularFile {
        return Ok(directory_entry::is_same_special(entry, place, base));
    }
    if found.st_size != entry.stat.st_size {
        return Ok(false);
    }
    let (old, new) = (dirfd::open_file(entry.directory, entry.base)?, dirfd::open_file(place, base)?);
    let (Some(old), Some(new)) = (old, new) else { return Ok(false) };
    Ok(merge_policy::compare(&old, &new)? == Relation::Equal)
}
