//! Metadata of one entry.

use std::ffi::{CStr, OsString};
use std::os::fd::BorrowedFd;

use dirfd::{FileType, Identity};
use nix::errno::Errno;
use nix::fcntl::readlinkat;
use nix::sys::stat::FileStat;

/// Seconds since 1970 and nanoseconds.
pub(crate) type Time = (i64, u32);

/// The part of `struct stat` (inode(7)) that a copy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Metadata {
    pub kind: FileType,
    /// Permission bits, set-id and sticky bits included, the type not.
    pub mode: u32,
    pub owner: (u32, u32),
    pub size: u64,
    /// Bytes on the disk.
    pub allocated: u64,
    pub accessed: Time,
    pub modified: Time,
    pub changed: Time,
    pub device: u64,
    pub inode: u64,
    pub links: u64,
    /// Number of a device file.
    pub special: u64,
}

impl Metadata {
    /// Reads a name without following it; nothing if it does not exist.
    pub fn at(directory: BorrowedFd<'_>, name: &CStr) -> Result<Option<Self>, Errno> {
        Ok(dirfd::stat(directory, name)?.map(Self::from))
    }

    /// True if neither content nor attributes changed.
    pub fn unchanged(&self, later: &Self) -> bool {
        (self.size, self.modified, self.changed) == (later.size, later.modified, later.changed)
    }

    pub fn identity(&self) -> Identity {
        (self.device, self.inode)
    }

    pub fn is_file(&self) -> bool {
        self.kind == FileType::RegularFile
    }

    pub fn is_directory(&self) -> bool {
        self.kind == FileType::Directory
    }

    pub fn is_link(&self) -> bool {
        self.kind == FileType::Symlink
    }

    /// Fewer blocks than bytes: there are holes, or the file system compresses.
    pub fn is_sparse(&self) -> bool {
        self.allocated < self.size
    }
}

/// An entry of the source.
pub(crate) enum SourceEntry {
    Nothing,
    Directory,
    /// It changed its type, or vanished, while it was read.
    Changed,
    /// Anything else, and the target of a symbolic link.
    Entry(Metadata, OsString),
}

impl SourceEntry {
    /// Reads a name without following it.
    pub fn read(directory: BorrowedFd<'_>, name: &CStr) -> Result<Self, Errno> {
        let Some(meta) = Metadata::at(directory, name)? else { return Ok(Self::Nothing) };
        if meta.is_directory() {
            return Ok(Self::Directory);
        }
        if !meta.is_link() {
            return Ok(Self::Entry(meta, OsString::new()));
        }
        match readlinkat(directory, name) {
            Ok(text) => Ok(Self::Entry(meta, text)),
            Err(Errno::ENOENT | Errno::EINVAL) => Ok(Self::Changed),
            Err(cause) => Err(cause),
        }
    }
}

impl From<FileStat> for Metadata {
    #[allow(
        clippy::useless_conversion,
        clippy::cast_sign_loss,
        clippy::cast_possible_truncation,
        reason = "field types differ between architectures; sizes are never negative, nanoseconds fit"
    )]
    fn from(stat: FileStat) -> Self {
        Self {
            kind: dirfd::file_type(&stat),
            mode: stat.st_mode & 0o7777,
            owner: (stat.st_uid, stat.st_gid),
            size: stat.st_size as u64,
            allocated: stat.st_blocks as u64 * 512,
            accessed: (stat.st_atime, stat.st_atime_nsec as u32),
            modified: (stat.st_mtime, stat.st_mtime_nsec as u32),
            changed: (stat.st_ctime, stat.st_ctime_nsec as u32),
            device: stat.st_dev,
            inode: stat.st_ino,
            links: u64::from(stat.st_nlink),
            special: stat.st_rdev,
        }
    }
}

/// A file, for tests.
#[cfg(test)]
pub(crate) const FILE: Metadata = Metadata {
    kind: FileType::RegularFile,
    mode: 0o4755,
    owner: (1000, 1000),
    size: 10,
    allocated: 4096,
    accessed: (1, 0),
    modified: (100, 5),
    changed: (200, 0),
    device: 1,
    inode: 2,
    links: 1,
    special: 0,
};
