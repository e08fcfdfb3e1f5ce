//! Copies bytes in the kernel: shared blocks (`FICLONE`) or `copy_file_range`.

use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::{AtomicBool, Ordering};

use nix::errno::Errno;
use nix::fcntl::copy_file_range;
use nix::sys::stat::fstat;
use nix::sys::statfs::fstatfs;

use crate::direct_io::offset;
use crate::error::SideError;

/// Size of one `copy_file_range` call; progress is reported and a stop is possible between calls.
pub(crate) const PIECE: usize = 8 << 20;

/// Copy methods that work between two file systems; a method that failed is not tried again.
#[derive(Debug)]
pub(crate) struct KernelCopy {
    reflink: AtomicBool,
    /// True if the source may be read past the page cache.
    pub direct_in: bool,
    /// True if the target may be written past it.
    pub direct_out: bool,
    /// True if `copy_file_range` may be used: a file server copies between its own disks, tmpfs without a second
    /// buffer.
    pub inside: AtomicBool,
}

impl KernelCopy {
    /// `reflink`: whether to try to share blocks. Direct access is for local disks alone: over a network it gives up
    /// what makes that quick. There, and in memory, `copy_file_range(2)` within one file system does less; on a local
    /// disk it would fill the page cache.
    pub fn new(source: BorrowedFd<'_>, target: BorrowedFd<'_>, reflink: bool) -> Self {
        let local = |side| {
            // statfs(2): ext4, xfs, btrfs, and overlay, which hands on to one of them.
            const LOCAL: [i64; 4] = [0xef53, 0x5846_5342, 0x9123_683e, 0x794c_7630];
            fstatfs(side).is_ok_and(|found| LOCAL.contains(&found.filesystem_type().0))
        };
        let device = |side| fstat(side).ok().map(|found| found.st_dev);
        let (direct_in, direct_out) = (local(source), local(target));
        let one = device(source).is_some() && device(source) == device(target);
        Self {
            reflink: AtomicBool::new(reflink),
            direct_in,
            direct_out,
            inside: AtomicBool::new(one && !direct_in && !direct_out),
        }
    }

    /// Shares the blocks of two files; false if that is impossible.
    pub fn share(&self, source: BorrowedFd<'_>, target: BorrowedFd<'_>) -> Result<bool, Errno> {
        if !self.reflink.load(Ordering::Relaxed) {
            return Ok(false);
        }
        match clone_file(source, target) {
            Ok(()) => Ok(true),
            Err(Errno::EXDEV | Errno::ENOTSUP | Errno::ENOTTY | Errno::EINVAL | Errno::ENOSYS) => {
                self.reflink.store(false, Ordering::Relaxed);
                Ok(false)
            }
            Err(cause) => Err(cause),
        }
    }

    /// Copies from one position to another with `copy_file_range`; returns the position reached. The caller reads and
    /// writes the rest, which shows an error and its side.
    pub fn copy_inside(
        &self,
        source: BorrowedFd<'_>,
        target: BorrowedFd<'_>,
        (from, to): (u64, u64),
        progress: &dyn Fn(u64) -> Result<(), SideError>,
    ) -> Result<u64, SideError> {
        let mut position = from;
        while position < to && self.inside.load(Ordering::Relaxed) {
            let wanted = usize::try_from(to - position).unwrap_or(PIECE).min(PIECE);
            let (mut read_at, mut write_at) = (offset(position), offset(position));
            match copy_file_range(source, Some(&mut read_at), target, Some(&mut write_at), wanted) {
                // The end, or a file system that fails without an error.
                Ok(0) => break,
                Ok(length) => {
                    position += length as u64;
                    progress(length as u64)?;
                }
                Err(Errno::EXDEV | Errno::ENOSYS | Errno::ENOTSUP | Errno::EINVAL) => {
                    self.inside.store(false, Ordering::Relaxed);
                }
                Err(Errno::EINTR) => {}
                Err(_) => break,
            }
        }
        Ok(position)
    }
}

/// Lets `target` share all blocks of `source` (`FICLONE`).
pub(crate) fn clone_file(source: impl AsFd, target: impl AsFd) -> Result<(), Errno> {
    rustix::fs::ioctl_ficlone(target, source).map_err(|cause| Errno::from_raw(cause.raw_os_error()))
}
