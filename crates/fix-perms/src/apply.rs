//! Doing: a change to what a descriptor holds, whatever its name has become meanwhile.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use exacl::AclOption;
use rustix::fs::{AtFlags, Gid, Mode, OFlags, chmod, chownat, fstat, openat, removexattr};
use rustix::io::Errno;

use crate::acl::{Acl, List};
use crate::change::Change;
use crate::entry::Entry;

/// How much of an ACL is read at once, in bytes: 100 entries.
const USUAL_ACL: usize = 4 + 100 * 8;
const CAPABILITY: &str = "security.capability";

impl List {
    fn attribute(self) -> &'static str {
        match self {
            Self::Access => "system.posix_acl_access",
            Self::Default => "system.posix_acl_default",
        }
    }
}

/// The path of what a descriptor holds: no link is followed on the way, because there is no way.
fn path_of(fd: BorrowedFd<'_>) -> String {
    format!("/proc/self/fd/{}", fd.as_raw_fd())
}

/// What was seen of what a descriptor holds.
pub fn look(fd: BorrowedFd<'_>) -> io::Result<Entry> {
    Ok(Entry::from(&fstat(fd)?))
}

/// An ACL of what a descriptor holds, which may be one of those that only name something (`O_PATH`).
pub fn read(fd: BorrowedFd<'_>, list: List) -> io::Result<Option<Acl>> {
    acl(|buffer| rustix::fs::getxattr(path_of(fd), list.attribute(), buffer))
}

/// The access ACL of the regular file `name` of a directory, read where it is cheap; a link is not followed.
///
/// Opening the file takes half the time of asking through `/proc/self/fd`, which counts because it is done for every file.
/// Who may not open it, as in a dry run without root's rights, may still ask.
pub fn read_at(directory: BorrowedFd<'_>, name: &CStr, list: List) -> io::Result<Option<Acl>> {
    // Without waiting, should it have become a pipe.
    let how = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
    if let Ok(file) = openat(directory, name, how, Mode::empty()) {
        return acl(|buffer| rustix::fs::fgetxattr(&file, list.attribute(), buffer));
    }
    let path = [path_of(directory).as_bytes(), b"/", name.to_bytes()].concat();
    acl(|buffer| rustix::fs::lgetxattr(path.as_slice(), list.attribute(), buffer))
}

/// Whether the file system of what a descriptor holds keeps ACLs at all.
pub fn keeps_acls(fd: BorrowedFd<'_>) -> bool {
    let nothing: &mut [u8] = &mut [];
    !matches!(
        rustix::fs::getxattr(path_of(fd), List::Access.attribute(), nothing),
        Err(Errno::OPNOTSUPP | Errno::NOSYS)
    )
}

fn acl(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Acl>> {
    let mut usual = [0; USUAL_ACL];
    match get(&mut usual) {
        Ok(length) => Acl::parse(&usual[..length]).map(Some),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => {
            // The kernel keeps no attribute larger than this (xattr(7)).
            let mut largest = vec![0; 64 << 10];
            let length = get(&mut largest)?;
            Acl::parse(&largest[..length]).map(Some)
        }
        Err(error) => Err(error.into()),
    }
}

/// Whether a file runs with more rights than its reader has: whoever could write it, would have them.
pub fn has_capabilities(fd: BorrowedFd<'_>) -> bool {
    let nothing: &mut [u8] = &mut [];
    rustix::fs::getxattr(path_of(fd), CAPABILITY, nothing).is_ok()
}

/// Makes the same change to what some descriptors hold; `Unsupported` where a file system took it and did not keep it.
///
/// After an error, those behind the first that failed were not tried.
pub fn apply<'a>(fds: impl IntoIterator<Item = BorrowedFd<'a>>, change: &Change) -> io::Result<()> {
    let mut fds = fds.into_iter();
    match change {
        Change::Group(gid) => fds.try_for_each(|fd| {
            chownat(fd, c"", None, Some(Gid::from_raw(*gid)), AtFlags::EMPTY_PATH)?;
            kept(look(fd)?.gid == *gid)
        }),
        Change::Mode(_, mode) => fds.try_for_each(|fd| {
            chmod(path_of(fd), Mode::from_raw_mode(*mode))?;
            kept(look(fd)?.mode == *mode)
        }),
        Change::Access(_, _, acl) => set(fds, acl, AclOption::ACCESS_ACL),
        Change::Default(_, acl) => {
            let fds: Vec<_> = fds.collect();
            set(fds.iter().copied(), acl, AclOption::DEFAULT_ACL)?;
            fds.iter().try_for_each(|fd| kept(read(*fd, List::Default)?.is_some()))
        }
        Change::NoDefault => {
            fds.try_for_each(|fd| match removexattr(path_of(fd), List::Default.attribute()) {
                Err(Errno::NODATA) => Ok(()),
                removed => Ok(removed?),
            })
        }
    }
}

fn set<'a>(fds: impl Iterator<Item = BorrowedFd<'a>>, acl: &Acl, list: AclOption) -> io::Result<()> {
    let paths: Vec<String> = fds.map(path_of).collect();
    exacl::setfacl(&paths, &acl.entries(), list)
}

fn kept(kept: bool) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}
