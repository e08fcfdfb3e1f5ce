//! Extended attributes, also of entries that cannot be opened.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;

use nix::errno::Errno;
use rustix::fs::{
    XattrFlags, fgetxattr, flistxattr, fremovexattr, fsetxattr, getxattr, lgetxattr, listxattr, llistxattr,
    lremovexattr, lsetxattr, removexattr, setxattr,
};

use crate::fd_path;
use crate::listing::errno;

/// Bytes that nearly every list and value fits into: 100 entries of an access control list.
const USUAL: usize = 4 + 100 * 8;
/// Bytes of the largest list or value (xattr(7)).
const LARGEST: usize = 64 << 10;

/// An entry whose extended attributes are read or changed.
#[derive(Debug)]
pub enum Node<'a> {
    /// An open file or directory.
    Open(BorrowedFd<'a>),
    /// A file or directory behind a descriptor that only names it (`O_PATH`).
    PathOnly(BorrowedFd<'a>),
    /// An entry of an open directory, and the link itself if it is one.
    Named(CString),
}

impl Node<'_> {
    /// An entry of a directory that stays open; a link is not followed.
    #[must_use]
    pub fn named(directory: BorrowedFd<'_>, name: &CStr) -> Node<'static> {
        let mut path = fd_path(directory).into_os_string().into_vec();
        path.push(b'/');
        path.extend_from_slice(name.to_bytes());
        // Neither part has a zero byte.
        Node::Named(CString::new(path).unwrap_or_default())
    }

    /// Returns the names, each terminated by a zero byte; none if the file system has no attributes.
    pub fn list(&self) -> nix::Result<Vec<u8>> {
        let listed = fill(|space| match self {
            Self::Open(open) => flistxattr(open, space),
            Self::PathOnly(open) => listxattr(fd_path(open), space),
            Self::Named(path) => llistxattr(path.as_c_str(), space),
        });
        if listed == Err(Errno::ENOTSUP) { Ok(vec![]) } else { listed }
    }

    /// Returns a value; fails with `ENODATA` if there is none.
    pub fn get(&self, name: &CStr) -> nix::Result<Vec<u8>> {
        fill(|space| self.read(name, space))
    }

    /// Returns the length of a value.
    pub fn length(&self, name: &CStr) -> nix::Result<usize> {
        self.read(name, &mut []).map_err(errno)
    }

    fn read(&self, name: &CStr, space: &mut [u8]) -> rustix::io::Result<usize> {
        match self {
            Self::Open(open) => fgetxattr(open, name, space),
            Self::PathOnly(open) => getxattr(fd_path(open), name, space),
            Self::Named(path) => lgetxattr(path.as_c_str(), name, space),
        }
    }

    /// Sets a value; replaces an existing one.
    pub fn set(&self, name: &CStr, value: &[u8]) -> nix::Result<()> {
        let any = XattrFlags::empty();
        match self {
            Self::Open(open) => fsetxattr(open, name, value, any),
            Self::PathOnly(open) => setxattr(fd_path(open), name, value, any),
            Self::Named(path) => lsetxattr(path.as_c_str(), name, value, any),
        }
        .map_err(errno)
    }

    /// Removes an attribute; fails with `ENODATA` if there is none.
    pub fn remove(&self, name: &CStr) -> nix::Result<()> {
        match self {
            Self::Open(open) => fremovexattr(open, name),
            Self::PathOnly(open) => removexattr(fd_path(open), name),
            Self::Named(path) => lremovexattr(path.as_c_str(), name),
        }
        .map_err(errno)
    }
}

fn fill(read: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> nix::Result<Vec<u8>> {
    let mut usual = [0; USUAL];
    match read(&mut usual).map_err(errno) {
        Ok(length) => Ok(usual[..length].to_vec()),
        Err(Errno::ERANGE) => {
            let mut space = vec![0; LARGEST];
            let length = read(&mut space).map_err(errno)?;
            space.truncate(length);
            Ok(space)
        }
        Err(error) => Err(error),
    }
}
