//! Directories of the workspace, opened with their path in the error and created with the owner of their parent.

use std::mem;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Component, Path};

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::sys::stat::{Mode, fchmod, fstat};
use nix::unistd::{Gid, Uid, fchown};

/// Opens a directory by its path and follows links, because root chose the path.
pub fn open_root(path: &Path) -> Result<OwnedFd> {
    dirfd::open_root(path).with_context(|| format!("cannot open {}", path.display()))
}

/// Like [`dirfd::open_beneath`], and creates missing directories. A new one gets the owner of its parent, if the file
/// system has owners.
pub fn ensure_beneath(root: impl AsFd, relative: &Path) -> nix::Result<OwnedFd> {
    let mut directory = dirfd::open_beneath(root, Path::new(""))?;
    for step in relative.components() {
        let Component::Normal(name) = step else { return Err(Errno::EINVAL) };
        let (child, is_new) = dirfd::create_dir(&directory, name, 0o755)?;
        let parent = mem::replace(&mut directory, child);
        if is_new {
            let stat = fstat(parent)?;
            // Volumes without owners refuse both; the directory is usable anyway.
            let _ = fchown(&directory, Some(Uid::from_raw(stat.st_uid)), Some(Gid::from_raw(stat.st_gid)));
            let _ = fchmod(&directory, Mode::from_bits_truncate(0o775));
        }
    }
    Ok(directory)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};
    use std::os::unix::fs::{MetadataExt, symlink};

    #[test]
    fn no_directory_is_created_behind_a_link_or_outside() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("elsewhere")).unwrap();
        symlink(dir.path().join("elsewhere"), dir.path().join("environments")).unwrap();
        let root = open_root(dir.path()).unwrap();
        assert!(ensure_beneath(&root, Path::new("environments/x")).is_err_and(dirfd::is_not_directory));
        assert!(!dir.path().join("elsewhere/x").exists());
        assert_eq!(ensure_beneath(&root, Path::new("../x")).map(drop), Err(Errno::EINVAL));
    }

    #[test]
    fn a_new_directory_gets_the_owner_of_its_parent() {
        let dir = tempfile::tempdir().unwrap();
        std::os::unix::fs::chown(dir.path(), Some(4321), Some(4322)).unwrap();
        let root = open_root(dir.path()).unwrap();
        let made = File::from(ensure_beneath(&root, Path::new("a/b")).unwrap()).metadata().unwrap();
        assert_eq!((made.uid(), made.gid(), made.mode() & 0o7777), (4321, 4322, 0o775));
    }
}
