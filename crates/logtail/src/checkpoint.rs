//! Position in a log that survives a restart.

use std::collections::BTreeSet;
use std::fs::File;

use log_history::file_id::FileId;
use serde::{Deserialize, Serialize};

use crate::compressed::ContentSum;
use crate::file_reader::FileReader;
use crate::fingerprint::Fingerprint;

/// Position in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub reading: Option<FileCheckpoint>,
    pub known: BTreeSet<FileId>,
    /// Checksums of known files.
    #[serde(default, rename = "fingerprints")]
    pub content_sums: Vec<(FileId, ContentSum)>,
    /// Positions in rotated files that their writers may still have open.
    #[serde(rename = "late")]
    pub rotated: Vec<FileCheckpoint>,
}

/// Position in a file. The fingerprint shows if the content is still the same: a file that was truncated keeps its identity.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCheckpoint {
    pub file: FileId,
    pub offset: u64,
    /// Of everything that was read, also behind the offset, where a line is incomplete.
    #[serde(rename = "mark")]
    pub fingerprint: Fingerprint,
}

impl FileCheckpoint {
    /// Returns the position of a reader, of which `pending` bytes were not emitted.
    pub fn of(reader: &FileReader, pending: u64) -> Self {
        let offset = reader.offset().saturating_sub(pending);
        Self { file: reader.id(), offset, fingerprint: reader.fingerprint().clone() }
    }

    pub fn resume(self, file: File, id: FileId) -> FileReader {
        FileReader::resume(file, id, self.offset, self.fingerprint)
    }
}

impl Checkpoint {
    /// True if this file was being read.
    pub fn is_in(&self, id: FileId) -> bool {
        self.reading.as_ref().is_some_and(|spot| spot.file == id)
    }

    /// True if this file was read to its end.
    pub fn has_read(&self, id: FileId) -> bool {
        self.known.contains(&id) && !self.is_in(id)
    }
}
