//! The user's work in a copy, brought into another generation of it.
//!
//! What the image of the old generation did not bring as it is now is the user's: entries with names of their own,
//! files that were written since, and what the first programs of the container may have made. The new generation's
//! entries stay in their places. Where both have a name with different content, the user's lies beside it as
//! `NAME.before-refresh`.

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
use nix::fcntl::AtFlags;
use nix::sys::stat::{Mode, fchmod, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, fchown};
use tree_copy::{Capabilities, NoObserver};

use crate::copy_job::ReadyCopy;
use crate::directory_entry;
use crate::image_listing::{ImageBase, PYCACHE, Provenance};
use crate::merge_policy::{self, Relation};
use crate::reserved_names;

/// Behind the name of an entry of the user's whose place the image has.
const SUFFIX: &str = ".before-refresh";

/// The copy in use, and the generation that is to replace it.
#[derive(Debug)]
pub struct UserAdditions<'a> {
    /// The root of the copy in use.
    pub old: OwnedFd,
    /// Path of the copy in use, for messages.
    pub shown: &'a Path,
    /// Base of the copy's own generation.
    pub base: ImageBase,
    /// The new generation.
    pub prepared: &'a ReadyCopy,
    /// Capabilities of the volume.
    pub capabilities: Capabilities,
    /// Entries that came along, a new directory with all its content being one.
    pub brought: Cell<u64>,
    /// Names that the user's entries got because the image has theirs, relative to the root.
    pub beside: RefCell<Vec<PathBuf>>,
}

/// Why the walk over the copy in use ended.
struct WalkError(anyhow::Error);

impl From<Errno> for WalkError {
    fn from(error: Errno) -> Self {
        Self(io::Error::from(error).into())
    }
}

impl UserAdditions<'_> {
    /// Brings everything along.
    pub fn copy(&self) -> Result<()> {
        let walked = walk::walk_tree(&self.old, &mut |entry| {
            self.entry(entry)
                .with_context(|| format!("cannot bring {} along", self.shown.join(entry.name).display()))
                .map_err(WalkError)
        });
        walked.map_err(|WalkError(error)| error)
    }

    fn entry(&self, entry: &Entry<'_>) -> Result<Descend> {
        let is_ours = entry.name.as_os_str() == entry.base && reserved_names::all().contains(&entry.base);
        // Half of something, left by a kill; and what Python makes again. In a directory of the user's, the whole comes
        // along.
        if is_ours || tree_copy::is_temporary(entry.base) || entry.base == PYCACHE {
            return Ok(Descend::Skip);
        }
        let provenance = self.base.provenance(entry);
        match (provenance, entry.is_directory()) {
            (Provenance::Image, _) => return Ok(Descend::Enter),
            // The image's, in which something was made; or one of the first programs'.
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
            Some(_) if is_same(entry, &place, entry.base)? => {}
            Some(_) => self.put_beside(entry, &place)?,
        }
        Ok(Descend::Skip)
    }

    fn put_beside(&self, entry: &Entry<'_>, place: &OwnedFd) -> Result<()> {
        for number in 1_u32.. {
            let base = directory_entry::suffixed_name(entry.base, number, SUFFIX);
            let is_free = dirfd::stat(place, base.as_os_str())?.is_none();
            if is_free {
                self.replicate(entry, place, &base)?;
            } else if !is_same(entry, place, &base)? {
                continue;
            }
            self.beside.borrow_mut().push(entry.name.with_file_name(base));
            break;
        }
        Ok(())
    }

    fn replicate(&self, entry: &Entry<'_>, place: &OwnedFd, base: &OsStr) -> Result<()> {
        let capabilities = &self.capabilities;
        tree_copy::replicate(entry.directory, entry.base, place.as_fd(), base, capabilities, &NoObserver)?;
        self.brought.set(self.brought.get() + 1);
        Ok(())
    }

    /// Opens a directory of the new generation; one that only the old copy has is made as it is there. Where the new
    /// one has a file or a link of that name, the directory gets a name beside it.
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
                    // Volumes that keep neither refuse; the directory is usable all the same.
                    let (user, group) = (Uid::from_raw(meta.uid()), Gid::from_raw(meta.gid()));
                    let _ = fchown(&made, Some(user), Some(group));
                    let _ = fchmod(&made, Mode::from_bits_truncate(meta.mode() & 0o7777));
                    self.brought.set(self.brought.get() + 1);
                    return Ok(made);
                }
            }
        }
        Ok(dirfd::open_beneath(directory, Path::new(base)).map_err(io::Error::from)?)
    }
}

/// True if the entry has the same content as what has this name in the new generation.
fn is_same(entry: &Entry<'_>, place: &OwnedFd, base: &OsStr) -> Result<bool> {
    let found = fstatat(place, base, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    if dirfd::file_type(&found) != entry.kind() || entry.is_directory() {
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
