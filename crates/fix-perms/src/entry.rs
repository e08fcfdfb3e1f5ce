//! Owner, mode and identity of a file or directory: all that the rules decide by.

use dirfd::{FileType, Identity};
use nix::sys::stat::FileStat;

/// Read, write and execute, as a digit of a mode.
pub const ALL: u8 = 7;
/// Write, as a digit of a mode.
pub const WRITE: u8 = 2;
const SET_USER_ID: u32 = 0o4000;
/// Set-group-ID: new entries of such a directory inherit its group.
pub const SET_GROUP_ID: u32 = 0o2000;

/// An entry's owner, mode and identity.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// File type.
    pub kind: FileType,
    /// Permission bits with set-user-ID, set-group-ID and sticky: `0o7777` at most.
    pub mode: u32,
    /// The owner.
    pub uid: u32,
    /// The group.
    pub gid: u32,
    /// Number of hard links.
    pub links: u64,
    /// Device and inode: the same for all hard links of a file.
    pub identity: Identity,
}

impl Entry {
    /// The owner's read, write and execute bits.
    pub fn owner_bits(&self) -> u8 {
        bits(self.mode >> 6)
    }

    /// The group's bits; those of the mask where there is an ACL (acl(5)).
    pub fn group_bits(&self) -> u8 {
        bits(self.mode >> 3)
    }

    /// The bits of all others.
    pub fn other_bits(&self) -> u8 {
        bits(self.mode)
    }

    /// True if only the owner has access, as for private keys and `.netrc`.
    pub fn is_private(&self) -> bool {
        self.group_bits() | self.other_bits() == 0
    }

    /// True for a symbolic link, device, pipe or socket: these are never changed.
    pub fn is_special(&self) -> bool {
        !matches!(self.kind, FileType::RegularFile | FileType::Directory)
    }

    /// True if any account may execute it.
    pub fn is_executable(&self) -> bool {
        self.mode & 0o111 != 0
    }

    /// True for a set-user-ID or set-group-ID file: an account that may write to it gets the rights of its owner or group.
    pub fn is_setid(&self) -> bool {
        self.kind == FileType::RegularFile && self.mode & (SET_USER_ID | SET_GROUP_ID) != 0
    }
}

impl From<&FileStat> for Entry {
    // The types of these fields differ between architectures.
    #[allow(clippy::useless_conversion, clippy::unnecessary_cast)]
    fn from(stat: &FileStat) -> Self {
        Self {
            kind: dirfd::file_type(stat),
            mode: stat.st_mode & 0o7777,
            uid: stat.st_uid,
            gid: stat.st_gid,
            links: u64::from(stat.st_nlink),
            identity: (stat.st_dev as u64, stat.st_ino as u64),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "three bits")]
fn bits(mode: u32) -> u8 {
    (mode & 0o7) as u8
}

#[cfg(test)]
pub mod example {
    use super::{Entry, FileType};

    /// A file of root with one hard link.
    pub fn file(mode: u32) -> Entry {
        Entry { kind: FileType::RegularFile, mode, uid: 0, gid: 0, links: 1, identity: (1, 2) }
    }

    /// A directory of root.
    pub fn directory(mode: u32) -> Entry {
        Entry { kind: FileType::Directory, links: 2, ..file(mode) }
    }
}
