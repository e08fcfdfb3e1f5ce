//! How far a log was read, in a form that outlives us.

use std::collections::BTreeSet;
use std::fs::File;

use serde::{Deserialize, Serialize};

use crate::compressed::ContentSum;
use crate::file_id::FileId;
use crate::file_reader::FileReader;
use crate::fingerprint::Fingerprint;

/// How far a log was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Checkpoint {
    pub reading: Option<FileCheckpoint>,
    pub known: BTreeSet<FileId>,
    /// Of known files.
    #[serde(default, rename = "fingerprints")]
    pub content_sums: Vec<(FileId, ContentSum)>,
    /// In the files before, whose writers may not have noticed that they were rotated.
    #[serde(rename = "late")]
    pub rotated: Vec<FileCheckpoint>,
}

/// A place in a file. The mark tells whether the file still holds what it held: one that is copied and cut is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileCheckpoint {
    pub file: FileId,
    pub offset: u64,
    /// Of all that was read, also behind the offset, where a line has begun.
    #[serde(rename = "mark")]
    pub fingerprint: Fingerprint,
}

impl FileCheckpoint {
    /// Where a file is read on, so many bytes of which are not handed out.
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
