//! Free space of a file system.

use std::fmt;

use kit::units;
use serde::Serialize;

use crate::survey::Survey;

/// Free space of a file system, for this process.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct FreeSpace {
    /// Bytes that may still be written; a quota can allow less.
    pub bytes: u64,
    /// Entries that may still be made; `None` if the file system has no fixed number of inodes.
    pub inodes: Option<u64>,
}

impl FreeSpace {
    /// Returns the space for a copy over an earlier copy, which needs it only once.
    #[must_use]
    pub fn with_reused(self, earlier: &Survey) -> Self {
        Self {
            bytes: self.bytes.saturating_add(earlier.bytes_allocated),
            inodes: self.inodes.map(|inodes| inodes.saturating_add(earlier.inodes)),
        }
    }
}

impl fmt::Display for FreeSpace {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inodes = self.inodes.map(|inodes| format!(" and {} inodes", units::format_count(inodes)));
        write!(formatter, "{}{} are free", units::format_bytes(self.bytes), inodes.unwrap_or_default())
    }
}
