//! Forces what was written to the disk.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::sys::statfs::fstatfs;
use nix::unistd::{fsync, syncfs};

use crate::error::{Error, Result};

/// A file system that can be synced.
#[derive(Debug)]
pub(crate) struct TargetDisk {
    root: OwnedFd,
    fuse: bool,
}

impl TargetDisk {
    /// Opens the file system; call it before the first write, because a descriptor opened later does not receive
    /// earlier write errors (fsync(2)).
    pub fn open(directory: BorrowedFd<'_>) -> std::result::Result<Self, Errno> {
        /// `FUSE_SUPER_MAGIC` of statfs(2).
        const FUSE: i64 = 0x6573_5546;
        let fuse = fstatfs(directory)?.filesystem_type().0 == FUSE;
        Ok(Self { root: dirfd::open_beneath(directory, Path::new(""))?, fuse })
    }

    /// True if each file must be fsynced. On FUSE, `syncfs` does nothing, so each file is fsynced before its time is
    /// set; a file with the source's time counts as complete.
    pub fn needs_each_file(&self) -> bool {
        self.fuse
    }

    /// Writes everything on the file system to the disk.
    pub fn sync(&self) -> std::result::Result<(), Errno> {
        syncfs(&self.root)?;
        match fsync(&self.root) {
            // Some file systems cannot sync a directory.
            Err(Errno::EINVAL | Errno::ENOTSUP | Errno::ENOSYS) => Ok(()),
            answer => answer,
        }
    }
}

/// Writes everything on the file system of `directory` to the disk; errors name the path.
///
/// On FUSE, where that does not reach files, passes and [`replicate`](crate::replicate) have fsynced each.
pub fn sync_to_disk(directory: &Path) -> Result<()> {
    let failed = |cause| Error::target("sync", directory, cause, || None);
    let opened = dirfd::open_root(directory).map_err(failed)?;
    TargetDisk::open(opened.as_fd()).and_then(|disk| disk.sync()).map_err(failed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_can_be_made_durable_and_a_missing_one_is_named() {
        let dir = tempfile::tempdir().unwrap();
        sync_to_disk(dir.path()).unwrap();
        let missing = dir.path().join("missing");
        let error = sync_to_disk(&missing).unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot sync {}: No such file or directory (os error 2)", missing.display())
        );
    }
}
