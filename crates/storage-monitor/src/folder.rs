//! Directories, opened step by step so that no link on the way is followed.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, fstat, openat, readlinkat};
use rustix::io::Errno;

const DIRECTORY: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::CLOEXEC);

/// What a directory is, whatever it is called: device and inode.
pub type Identity = (u64, u64);

/// Opens a directory by a path whose links are followed: only for what the administrator names.
pub fn open(path: &Path) -> io::Result<OwnedFd> {
    Ok(openat(CWD, path, DIRECTORY, Mode::empty())?)
}

/// Opens an absolute path in which nothing is a link; one that is gives "not a directory".
pub fn open_plain(path: &Path) -> io::Result<OwnedFd> {
    let below = path.strip_prefix("/").map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    open_below(open(Path::new("/"))?, below)
}

/// Opens a directory below another without following a link.
pub fn open_below(top: impl AsFd, below: &Path) -> io::Result<OwnedFd> {
    let mut found = openat(top, c".", DIRECTORY, Mode::empty())?;
    for component in below.components() {
        let Component::Normal(name) = component else { return Err(Errno::INVAL.into()) };
        found = openat(&found, name, DIRECTORY | OFlags::NOFOLLOW, Mode::empty())?;
    }
    Ok(found)
}

/// What an open directory is.
pub fn identity(directory: impl AsFd) -> io::Result<Identity> {
    let stat = fstat(directory)?;
    Ok((stat.st_dev, stat.st_ino))
}

/// The text of a link in a directory; nothing if there is no link of this name.
pub fn link_text(directory: impl AsFd, name: &[u8]) -> io::Result<Option<Vec<u8>>> {
    match readlinkat(directory, OsStr::from_bytes(name), Vec::new()) {
        Ok(text) => Ok(Some(text.into_bytes())),
        Err(Errno::NOENT | Errno::INVAL) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether an error means that there is no such directory, and not that it cannot be looked at.
pub fn is_absence(error: &io::Error) -> bool {
    let code = error.raw_os_error();
    [Errno::NOENT, Errno::NOTDIR, Errno::LOOP].iter().any(|errno| Some(errno.raw_os_error()) == code)
}
