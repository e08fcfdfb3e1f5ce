//! Puts an entry at a name of the target; replaces an existing entry.

use std::ffi::CStr;
use std::os::fd::BorrowedFd;

use dirfd::FileType;
use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{FchmodatFlags, Mode, fchmodat, fstat};
use nix::unistd::{UnlinkatFlags, linkat, unlinkat};

use crate::attributes::{self, AttributesResult};
use crate::copy_file::FileContext;
use crate::error::SideError;
use crate::metadata::Metadata;
use crate::temporary_names::with_free_name;

/// Calls `make` with a name in `directory`, so that in the end `name` is what it made.
///
/// `free`: the name is free. Otherwise the entry is made under a temporary name and renamed, so that `name` always is
/// the old or the new entry; only a directory is removed first, because nothing can be renamed over it.
pub(crate) fn replace<T>(
    directory: BorrowedFd<'_>,
    name: &CStr,
    free: bool,
    mut make: impl FnMut(&CStr) -> Result<T, SideError>,
) -> Result<T, SideError> {
    if free {
        match make(name) {
            // Another process was quicker.
            Err(SideError::Target(Errno::EEXIST)) => {}
            answer => return answer,
        }
    }
    let mut broken = None;
    let (temporary, result) = with_free_name(|temporary| match make(temporary) {
        Ok(result) => Ok(result),
        Err(SideError::Target(Errno::EEXIST)) => Err(Errno::EEXIST),
        Err(error) => {
            let _ = unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir);
            broken = Some(error);
            Err(Errno::ECANCELED)
        }
    })
    .map_err(|cause| broken.unwrap_or(SideError::Target(cause)))?;
    let temporary = temporary.as_c_str();
    let renamed = match renameat(directory, temporary, directory, name) {
        Err(Errno::EISDIR | Errno::ENOTEMPTY | Errno::EEXIST) => {
            dirfd::remove_all(directory, name).and_then(|_| renameat(directory, temporary, directory, name))
        }
        answer => answer,
    };
    renamed.map_err(|cause| {
        let _ = unlinkat(directory, temporary, UnlinkatFlags::NoRemoveDir);
        SideError::Target(cause)
    })?;
    Ok(result)
}

/// Makes a hard link to a file of the target; `Ok(false)` if the file system wants no more of them.
pub(crate) fn hard_link(
    from: BorrowedFd<'_>,
    old: &CStr,
    directory: BorrowedFd<'_>,
    name: &CStr,
    free: bool,
) -> Result<bool, SideError> {
    let linked = replace(directory, name, free, |name| {
        linkat(from, old, directory, name, AtFlags::empty()).map_err(SideError::Target)
    });
    match linked {
        Ok(()) => Ok(true),
        Err(SideError::Target(Errno::EMLINK | Errno::EPERM | Errno::EXDEV | Errno::ENOTSUP)) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Sets owner, attributes, mode and time of an existing entry that is not a directory.
///
/// `plain`: it is new, has the owner that it was made with, and no attributes.
pub(crate) fn set_metadata(
    source: &Metadata,
    from: &Node<'_>,
    directory: BorrowedFd<'_>,
    name: &CStr,
    plain: bool,
    making: &FileContext<'_>,
) -> Result<AttributesResult, SideError> {
    let can = making.can;
    if can.owner && !(plain && source.owner == making.creator) {
        attributes::set_owner_at(directory, name, source.owner).map_err(SideError::Target)?;
    }
    let to = Node::named(directory, name);
    // Before the mode, because an ACL sets group bits; after the owner, because chown removes capabilities.
    let attributes = attributes::copy_attributes(from, &to, plain, true, can)?;
    if can.mode && !source.is_link() {
        set_mode(directory, name, source.kind, attributes::wanted_mode(source, can))
            .map_err(SideError::Target)?;
    }
    match attributes::set_times_at(directory, name, source.accessed, source.modified) {
        Err(_) if source.is_link() && !can.link_times => {}
        answer => answer.map_err(SideError::Target)?,
    }
    Ok(attributes)
}

/// Changes the mode of an entry, never of a link's target.
fn set_mode(directory: BorrowedFd<'_>, name: &CStr, kind: FileType, mode: u32) -> Result<(), Errno> {
    let flags = OFlag::O_PATH | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    let entry = openat(directory, name, flags, Mode::empty())?;
    if Metadata::from(fstat(&entry)?).kind != kind {
        return Err(Errno::ESTALE);
    }
    let mode = Mode::from_bits_truncate(mode);
    fchmodat(AT_FDCWD, &dirfd::fd_path(&entry), mode, FchmodatFlags::FollowSymlink)
}
