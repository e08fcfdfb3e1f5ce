//! Errors that end a pass.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::free_space::FreeSpace;

/// Result of every operation of this crate.
pub type Result<T> = std::result::Result<T, Error>;

/// Error of a pass. Callers branch on it: a stop is not a failure, a full disk has numbers, and the side matters.
#[derive(Debug)]
pub enum Error {
    /// The observer stopped the pass; the next pass resumes.
    Stopped,
    /// An entry of the source cannot be read.
    Source(CallError),
    /// The target refuses a change, or cannot be read.
    Target(CallError),
    /// The target's file system has no space, no inodes, or the quota is used up.
    Full(CallError, FreeSpace),
}

/// A failed system call and its path.
#[derive(Debug)]
pub struct CallError {
    /// The attempt, as in "cannot read".
    pub action: &'static str,
    /// The entry, below the directory that the caller named.
    pub path: PathBuf,
    /// The system's reason.
    pub cause: io::Error,
}

/// A failed system call and its side; the caller adds the path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum SideError {
    Source(Errno),
    Target(Errno),
    Stopped,
}

impl Error {
    pub(crate) fn source(action: &'static str, path: &Path, cause: Errno) -> Self {
        Self::Source(CallError { action, path: path.to_owned(), cause: reason(cause) })
    }

    /// Returns an error of the target; a full disk gets the numbers of `free_space`, which is called only then.
    pub(crate) fn target(
        action: &'static str,
        path: &Path,
        cause: Errno,
        free_space: impl FnOnce() -> Option<FreeSpace>,
    ) -> Self {
        let trouble = CallError { action, path: path.to_owned(), cause: reason(cause) };
        match cause {
            Errno::ENOSPC | Errno::EDQUOT => match free_space() {
                Some(free_space) => Self::Full(trouble, free_space),
                None => Self::Target(trouble),
            },
            _ => Self::Target(trouble),
        }
    }
}

/// Returns the system's error. `nix` loses the number of errors that it does not know, as NFS returns some.
fn reason(cause: Errno) -> io::Error {
    if cause == Errno::UnknownErrno { io::Error::other("unknown error") } else { cause.into() }
}

impl fmt::Display for CallError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "cannot {} {}: {}", self.action, self.path.display(), self.cause)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Stopped => formatter.write_str("stopped before the end"),
            Self::Source(trouble) | Self::Target(trouble) => trouble.fmt(formatter),
            Self::Full(trouble, free_space) => write!(formatter, "{trouble} ({free_space})"),
        }
    }
}

impl std::error::Error for Error {}
