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
    /// Must be opened before the first write: errors of earlier writes are not reported to who comes later.
    pub fn open(directory: BorrowedFd<'_>) -> std::result::Result<Self, Errno> {
        /// `FUSE_SUPER_MAGIC` of statfs(2).
        const FUSE: i64 = 0x6573_5546;
        let fuse = fstatfs(directory)?.filesystem_type().0 == FUSE;
        Ok(Self { root: dirfd::open_beneath(directory, Path::new(""))?, fuse })
    }

    /// Returns whether each file must be synced by itself: the kernel does not hand `syncfs` on to a file system in
    /// user space, only `fsync` of a file. There each file is forced to the disk before it gets its source's time,
    /// because nothing later would: a pass takes it for whole then.
    pub fn needs_each_file(&self) -> bool {
        self.fuse
    }

    /// Returns when everything that was written to the file system is on the disk.
    pub fn sync(&self) -> std::result::Result<(), Errno> {
        syncfs(&self.root)?;
        match fsync(&self.root) {
            // Some file systems cannot sync a directory; there is nothing more to do for them.
            Err(Errno::EINVAL | Errno::ENOTSUP | Errno::ENOSYS) => Ok(()),
            answer => answer,
        }
    }
}

/// Returns when everything on the file system of `directory` is on the disk; fails with the path.
///
/// Where that does not reach files (FUSE), passes and [`replicate`](crate::replicate) have forced each to the disk.
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
