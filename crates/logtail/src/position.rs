//! How far a log was read, in a form that outlives us.

use std::collections::BTreeSet;
use std::fs::File;

use serde::{Deserialize, Serialize};

use crate::generation::Generation;
use crate::identity::FileId;
use crate::mark::Mark;
use crate::packed::Fingerprint;

/// How far a log was read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Position {
    pub reading: Option<Spot>,
    pub known: BTreeSet<FileId>,
    /// Of known files.
    #[serde(default)]
    pub fingerprints: Vec<(FileId, Fingerprint)>,
    /// In the files before, whose writers may not have noticed that they were rotated.
    pub late: Vec<Spot>,
}

/// A place in a file. The mark tells whether the file still holds what it held: one that is copied and cut is the same.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spot {
    pub file: FileId,
    pub offset: u64,
    /// Of all that was read, also behind the offset, where a line has begun.
    pub mark: Mark,
}

impl Spot {
    /// Where a file is read on, so many bytes of which are not handed out.
    pub fn of(generation: &Generation, pending: u64) -> Self {
        let offset = generation.offset().saturating_sub(pending);
        Self { file: generation.id(), offset, mark: generation.mark().clone() }
    }

    pub fn resume(self, file: File, id: FileId) -> Generation {
        Generation::resumed(file, id, self.offset, self.mark)
    }
}

impl Position {
    /// True if this file was being read.
    pub fn is_in(&self, id: FileId) -> bool {
        self.reading.as_ref().is_some_and(|spot| spot.file == id)
    }

    /// True if this file was read to its end.
    pub fn has_read(&self, id: FileId) -> bool {
        self.known.contains(&id) && !self.is_in(id)
    }
}
