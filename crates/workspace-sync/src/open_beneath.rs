//! Directories of the workspace, opened without following links, which other users may have put there.

use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use anyhow::{Context, Result};
use nix::fcntl::{OFlag, open, openat};
use nix::sys::stat::{Mode, fchmod, mkdirat};
use nix::unistd::{Gid, Uid, fchown};

const FLAGS: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Opens a directory by its own name; links above it are followed, because root chose the path.
pub fn open_root(path: &Path) -> Result<OwnedFd> {
    open(path, FLAGS, Mode::empty()).with_context(|| format!("cannot open {}", path.display()))
}

/// Opens `relative` below `root`, with every step a real directory; an error names the step that is not.
pub fn open_below(root: impl AsFd, relative: &Path) -> io::Result<OwnedFd> {
    let mut directory = root.as_fd().try_clone_to_owned()?;
    for step in relative.components() {
        let Component::Normal(name) = step else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
        directory = openat(&directory, name, FLAGS | OFlag::O_NOFOLLOW, Mode::empty())?;
    }
    Ok(directory)
}

/// Like [`open_below`], and makes what is missing. A new directory gets the owner of the one above it, where the file
/// system keeps owners.
pub fn ensure_below(root: impl AsFd, relative: &Path) -> io::Result<OwnedFd> {
    let mut directory = root.as_fd().try_clone_to_owned()?;
    for step in relative.components() {
        let Component::Normal(name) = step else { return Err(io::Error::from(io::ErrorKind::InvalidInput)) };
        let made = match mkdirat(&directory, name, Mode::from_bits_truncate(0o755)) {
            Ok(()) => true,
            Err(nix::Error::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let above = File::from(directory);
        directory = openat(&above, name, FLAGS | OFlag::O_NOFOLLOW, Mode::empty())?;
        if made {
            let meta = above.metadata()?;
            // Volumes that keep no owners refuse both; the directory is usable all the same.
            let _ = fchown(&directory, Some(Uid::from_raw(meta.uid())), Some(Gid::from_raw(meta.gid())));
            let _ = fchmod(&directory, Mode::from_bits_truncate(0o775));
        }
    }
    Ok(directory)
}

/// True if the error means that no directory is there: open(2) with `O_NOFOLLOW` and `O_DIRECTORY` fails with ENOTDIR
/// for a link as well, on some kernels with ELOOP.
pub fn is_no_directory(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOTDIR | nix::libc::ELOOP))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_link_on_the_way_is_refused_whether_something_is_to_be_made_or_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("environments")).unwrap();
        let root = open_root(dir.path()).unwrap();
        assert!(open_below(&root, Path::new("environments")).is_err());
        assert!(ensure_below(&root, Path::new("environments/x")).is_err());
        assert!(!dir.path().join("elsewhere/x").exists());
        assert!(ensure_below(&root, Path::new("../x")).is_err());
    }

    #[test]
    fn what_is_missing_is_made_for_the_owner_of_what_is_above() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4321), Some(4322)).unwrap();
        let root = open_root(dir.path()).unwrap();
        let made = File::from(ensure_below(&root, Path::new("a/b")).unwrap()).metadata().unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (4321, 4322, 0o775));
    }
}
