//! Identity of a file, independent of its name.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use serde::{Deserialize, Serialize};

/// Identity of a file, unique in its directory, also if its inode number is reused.
///
/// Without the device: overlayfs gets another number with each mount, so with each start of a container.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct FileId {
    inode: u64,
    /// Time of creation in nanoseconds since 1970, if the file system has it (statx(2)): inode numbers are reused as soon as
    /// a file is deleted.
    born: Option<u64>,
}

impl FileId {
    /// Returns the identity in the metadata of a file.
    #[must_use]
    pub fn from_metadata(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|time| time.duration_since(UNIX_EPOCH).ok());
        let born = born.and_then(|since| u64::try_from(since.as_nanos()).ok());
        Self { inode: meta.ino(), born }
    }

    /// Returns a number for the identity, the same in every run.
    #[must_use]
    pub fn digest(self) -> u64 {
        // FNV-1a.
        let bytes = self.inode.to_le_bytes().into_iter().chain(self.born.unwrap_or_default().to_le_bytes());
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_name_does_not_matter_and_a_copy_is_another_file() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name| dir.path().join(name);
        let id = |name| FileId::from_metadata(&fs::symlink_metadata(path(name)).unwrap());
        fs::write(path("a"), "x").unwrap();
        let first = id("a");
        fs::rename(path("a"), path("b")).unwrap();
        fs::write(path("b"), "longer").unwrap();
        fs::copy(path("b"), path("a")).unwrap();
        assert_eq!(id("b"), first);
        assert_ne!(id("a"), first);
    }
}
