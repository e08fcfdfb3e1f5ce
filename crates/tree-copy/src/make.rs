//! Puts an entry at a name of the target, in the place of what may be there.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};

use rustix::fs::{
    AtFlags, CWD, FileType, Mode, OFlags, chmodat, linkat, mknodat, openat, renameat, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::attributes::{self, Carried, Fault, Node};
use crate::file::Making;
use crate::meta::Meta;
use crate::remove;
use crate::temporary::at_a_free_name;

/// Calls `make` with a name in `directory`, so that in the end `name` is what it made.
///
/// `free`: nothing is there. Otherwise it is made under a temporary name and renamed over, so that `name` always is
/// the old or the new; only a directory has to go first, because nothing can be renamed over it.
pub(crate) fn put<T>(
    directory: BorrowedFd<'_>,
    name: &CString,
    free: bool,
    mut make: impl FnMut(&CStr) -> Result<T, Fault>,
) -> Result<T, Fault> {
    if free {
        match make(name) {
            // Somebody was quicker.
            Err(Fault::Target(Errno::EXIST)) => {}
            answer => return answer,
        }
    }
    let mut broken = None;
    let (temporary, result) = at_a_free_name(|temporary| match make(temporary) {
        Ok(result) => Ok(result),
        Err(Fault::Target(Errno::EXIST)) => Err(Errno::EXIST),
        Err(fault) => {
            let _ = unlinkat(directory, temporary, AtFlags::empty());
            broken = Some(fault);
            Err(Errno::CANCELED)
        }
    })
    .map_err(|cause| broken.unwrap_or(Fault::Target(cause)))?;
    let renamed = match renameat(directory, &temporary, directory, name) {
        Err(Errno::ISDIR | Errno::NOTEMPTY | Errno::EXIST) => {
            remove::remove(directory, name).and_then(|_| renameat(directory, &temporary, directory, name))
        }
        answer => answer,
    };
    renamed.map_err(|cause| {
        let _ = unlinkat(directory, &temporary, AtFlags::empty());
        Fault::Target(cause)
    })?;
    Ok(result)
}

/// Makes a hard link to a file of the target; `Ok(false)` if the file system wants no more of them.
pub(crate) fn hard_link(
    from: BorrowedFd<'_>,
    old: &CStr,
    directory: BorrowedFd<'_>,
    name: &CString,
    free: bool,
) -> Result<bool, Fault> {
    let linked = put(directory, name, free, |name| {
        linkat(from, old, directory, name, AtFlags::empty()).map_err(Fault::Target)
    });
    match linked {
        Ok(()) => Ok(true),
        Err(Fault::Target(Errno::MLINK | Errno::PERM | Errno::XDEV | Errno::NOTSUP)) => Ok(false),
        Err(fault) => Err(fault),
    }
}

/// Makes a symbolic link or a special file with everything of the source's; `Ok(None)` if this kind cannot be made.
#[allow(clippy::too_many_arguments, reason = "two sides, what is known about them, and how to make it")]
pub(crate) fn node(
    source: &Meta,
    text: &CStr,
    from: &Node<'_>,
    directory: BorrowedFd<'_>,
    name: &CString,
    free: bool,
    plain: bool,
    making: &Making<'_>,
) -> Result<Option<Carried>, Fault> {
    let special = !source.is_link();
    let can = making.can;
    if special && source.kind == FileType::Fifo && !can.special_files {
        return Ok(None);
    }
    let made = put(directory, name, free, |name| {
        if special {
            let mode = Mode::from_raw_mode(source.mode);
            mknodat(directory, name, source.kind, mode, source.special).map_err(Fault::Target)?;
        } else {
            symlinkat(text, directory, name).map_err(Fault::Target)?;
        }
        // Links get a time of their own last, like files: a link that is not whole is one with another time.
        adjust(source, from, directory, name, plain, making)
    });
    match made {
        Ok(carried) => Ok(Some(carried)),
        Err(Fault::Target(Errno::PERM | Errno::NOTSUP | Errno::NOSYS | Errno::ACCESS)) if special => Ok(None),
        Err(fault) => Err(fault),
    }
}

/// Gives an entry that is there, and no directory, the owner, attributes, mode and time of the source's.
///
/// `plain`: it is new and has the owner it was made with and no attributes.
pub(crate) fn adjust(
    source: &Meta,
    from: &Node<'_>,
    directory: BorrowedFd<'_>,
    name: &CStr,
    plain: bool,
    making: &Making<'_>,
) -> Result<Carried, Fault> {
    let can = making.can;
    if can.owner && !(plain && source.owner == making.creator) {
        attributes::set_owner_at(directory, name, source.owner).map_err(Fault::Target)?;
    }
    let to = Node::named(directory, name);
    // Before the mode: an access control list brings group bits, and after the owner, who takes capabilities away.
    let carried = attributes::carry(from, &to, plain, true, can)?;
    if can.mode && !source.is_link() {
        set_mode(directory, name, source.kind, attributes::wanted_mode(source, can))
            .map_err(Fault::Target)?;
    }
    match attributes::set_times_at(directory, name, source.accessed, source.modified) {
        Err(_) if source.is_link() && !can.link_times => {}
        answer => answer.map_err(Fault::Target)?,
    }
    Ok(carried)
}

/// Changes the mode of exactly the entry that is looked at, and never of what a link leads to.
fn set_mode(directory: BorrowedFd<'_>, name: &CStr, kind: FileType, mode: u32) -> Result<(), Errno> {
    let entry = openat(directory, name, OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty())?;
    if Meta::from(rustix::fs::fstat(&entry)?).kind != kind {
        return Err(Errno::STALE);
    }
    let path = format!("/proc/self/fd/{}", entry.as_fd().as_raw_fd());
    chmodat(CWD, path, Mode::from_raw_mode(mode), AtFlags::empty())
}
