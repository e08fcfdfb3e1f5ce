//! Files of a log that are held open, because their names may be gone when they are needed.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use log_history::file_id::FileId;

use crate::compressed::ContentSum;

/// Maximum number of open files of one log: without a reader of the output, more would keep deleted files on the disk.
pub const MAX_HELD: usize = 8;
/// Interval between two scans that shows that the process was stopped: it scans every second otherwise.
pub const MAX_SCAN_INTERVAL: Duration = Duration::from_secs(2);
/// Maximum number of scans while files are being renamed.
pub const MAX_ATTEMPTS: usize = 16;

/// A file that was read to its end.
#[derive(Debug)]
pub struct HeldFile {
    pub file: File,
    length: u64,
    /// Identifies its compressed form after a restart.
    pub content_sum: Option<ContentSum>,
}

impl HeldFile {
    pub fn new(file: File) -> Self {
        let mut pinned = Self { file, length: u64::MAX, content_sum: None };
        pinned.refresh();
        pinned
    }

    pub fn has_name(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() > 0)
    }

    /// Updates the checksum: its writer may still have it open.
    pub fn refresh(&mut self) {
        let length = self.file.metadata().map_or(0, |meta| meta.len());
        if length != self.length {
            (self.length, self.content_sum) = (length, ContentSum::of(&self.file).ok());
        }
    }
}

/// A rotated file that may be a copy of one being read.
#[derive(Debug)]
pub struct CopyCandidate {
    pub id: FileId,
    pub file: File,
    /// The file being read.
    pub of: FileId,
}
