//! Files of a log by their present names.

use std::collections::BTreeSet;

use crate::file_id::FileId;
use crate::file_name::{Compression, RotationName};

/// A file of a log, by its present name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogFile {
    /// Name in its directory.
    pub name: String,
    /// Its identity.
    pub id: FileId,
    /// Position in the rotation.
    pub role: RotationName,
    /// How it is compressed.
    pub packing: Compression,
}

/// Files of one log, by their present names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LogFiles {
    /// `x.log`, if it exists.
    pub base: Option<LogFile>,
    /// Rotated files, the newest first.
    pub rotated: Vec<LogFile>,
}

impl LogFiles {
    /// Identity of the current file.
    #[must_use]
    pub fn base_id(&self) -> Option<FileId> {
        self.base.as_ref().map(|base| base.id)
    }

    /// Identities of the rotated files.
    #[must_use]
    pub fn rotated_ids(&self) -> BTreeSet<FileId> {
        self.rotated.iter().map(|file| file.id).collect()
    }

    /// All files, the newest first.
    #[must_use]
    pub fn files(&self) -> impl DoubleEndedIterator<Item = &LogFile> {
        self.base.iter().chain(&self.rotated)
    }

    /// Returns the index of a rotated file.
    #[must_use]
    pub fn place_of(&self, id: Option<FileId>) -> Option<usize> {
        self.rotated.iter().position(|file| Some(file.id) == id)
    }
}
