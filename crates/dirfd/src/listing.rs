//! The entries of one directory, as the kernel lists them.

use std::ffi::{CStr, OsStr, OsString};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::{Whence, lseek};
use rustix::fs::{RawDir, RawDirEntry};

use crate::DIRECTORY;

/// Size of the buffer for one `getdents64` call, in bytes.
pub(crate) const BUFFER: usize = 32 << 10;

/// Visits all entries of an open directory in no order, without `.` and `..`.
pub fn for_each<E: From<Errno>>(
    directory: impl AsFd,
    mut visit: impl FnMut(&RawDirEntry<'_>) -> Result<(), E>,
) -> Result<(), E> {
    lseek(&directory, 0, Whence::SeekSet)?;
    let mut buffer = Vec::with_capacity(BUFFER);
    let mut listing = RawDir::new(directory, buffer.spare_capacity_mut());
    while let Some(entry) = listing.next() {
        let entry = entry.map_err(errno)?;
        if !is_dot(entry.file_name()) {
            visit(&entry)?;
        }
    }
    Ok(())
}

/// Returns the names in a directory in the order of their bytes; the listing position of `directory` stays.
pub fn names(directory: impl AsFd) -> nix::Result<Vec<OsString>> {
    let mut names = Vec::new();
    for_each(openat(directory, c".", DIRECTORY, Mode::empty())?, |entry| {
        names.push(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
        Ok::<_, Errno>(())
    })?;
    names.sort_unstable();
    Ok(names)
}

pub(crate) fn is_dot(name: &CStr) -> bool {
    matches!(name.to_bytes(), b"." | b"..")
}

pub(crate) fn errno(error: rustix::io::Errno) -> Errno {
    Errno::from_raw(error.raw_os_error())
}
