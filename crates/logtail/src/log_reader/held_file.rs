//! Files of a log that are held open, because their names may be gone when they are needed.

use std::fs::File;
use std::os::unix::fs::MetadataExt;
use std::time::Duration;

use crate::compressed::ContentSum;
use crate::file_id::FileId;

/// So many files of one log are held open; while nobody reads, more would keep what was deleted on the disk.
pub const MAX_HELD: usize = 8;
/// Looks further apart than this mean that the program stood still: it looks every second otherwise.
pub const MAX_SCAN_INTERVAL: Duration = Duration::from_secs(2);
/// How often to look again when files are renamed while we look.
pub const MAX_ATTEMPTS: usize = 16;

/// A file of which everything was read.
#[derive(Debug)]
pub struct HeldFile {
    pub file: File,
    length: u64,
    /// Tells its compressed form after a restart.
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

    /// Looks at it again: a writer may not have noticed that it was rotated.
    pub fn refresh(&mut self) {
        let length = self.file.metadata().map_or(0, |meta| meta.len());
        if length != self.length {
            (self.length, self.content_sum) = (length, ContentSum::of(&self.file).ok());
        }
    }
}

/// A rotated file that may be a copy of one that we read.
#[derive(Debug)]
pub struct CopyCandidate {
    pub id: FileId,
    pub file: File,
    /// The one that we read.
    pub of: FileId,
}
