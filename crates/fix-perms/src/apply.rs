//! Doing: a change to what a descriptor holds, whatever its name has become meanwhile.

use std::ffi::CString;
use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use exacl::AclOption;
use rustix::fs::{AtFlags, Gid, Mode, chmod, chownat, fstat, removexattr};
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

/// An ACL of the entry `name` of a directory; a link is not followed.
pub fn read_at(directory: BorrowedFd<'_>, name: &[u8], list: List) -> io::Result<Option<Acl>> {
    let mut path = Vec::with_capacity(32 + name.len());
    path.extend_from_slice(path_of(directory).as_bytes());
    path.push(b'/');
    path.extend_from_slice(name);
    let path = CString::new(path)?;
    acl(|buffer| rustix::fs::lgetxattr(path.as_c_str(), list.attribute(), buffer))
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

/// Makes a change; `Unsupported` where the file system took it and did not keep it.
pub fn apply(fd: BorrowedFd<'_>, change: &Change) -> io::Result<()> {
    match change {
        Change::Group(gid) => {
            chownat(fd, c"", None, Some(Gid::from_raw(*gid)), AtFlags::EMPTY_PATH)?;
            kept(look(fd)?.gid == *gid)
        }
        Change::Mode(_, mode) => {
            chmod(path_of(fd), Mode::from_raw_mode(*mode))?;
            kept(look(fd)?.mode == *mode)
        }
        Change::Access(_, _, acl) => set(fd, acl, AclOption::ACCESS_ACL),
        Change::Default(_, acl) => set(fd, acl, AclOption::DEFAULT_ACL),
        Change::NoDefault => match removexattr(path_of(fd), List::Default.attribute()) {
            Err(Errno::NODATA) => Ok(()),
            removed => Ok(removed?),
        },
    }
}

fn set(fd: BorrowedFd<'_>, acl: &Acl, list: AclOption) -> io::Result<()> {
    exacl::setfacl(&[path_of(fd)], &acl.entries(), list)
}

fn kept(kept: bool) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}
