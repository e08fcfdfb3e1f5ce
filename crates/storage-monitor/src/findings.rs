//! What a pass did, and what it could not do.

use std::path::PathBuf;

/// A file of the storage that has no link because its name is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The name.
    pub name: Vec<u8>,
    /// The directory of the storage whose entry does not get the name.
    pub source: PathBuf,
    /// The directory whose entry does; nothing if something that is not ours has it.
    pub winner: Option<PathBuf>,
}

/// What is wrong in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// Names that are taken.
    pub conflicts: Vec<Conflict>,
    /// The first error of the system, if there was one.
    pub errors: Vec<String>,
}

/// What a pass changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Links made or replaced.
    pub linked: usize,
    /// Links removed.
    pub removed: usize,
    /// Directories made.
    pub directories: usize,
    /// Directories removed.
    pub removed_directories: usize,
    /// Steps and directories that failed.
    pub failed: usize,
    /// Why the ledger could not be written.
    pub ledger: Option<String>,
}

impl Tally {
    /// Whether anything was changed.
    pub fn is_idle(&self) -> bool {
        self.linked + self.removed + self.directories + self.removed_directories == 0
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.linked += other.linked;
        self.removed += other.removed;
        self.directories += other.directories;
        self.removed_directories += other.removed_directories;
        self.failed += other.failed;
        self.ledger = self.ledger.take().or(other.ledger);
    }
}
