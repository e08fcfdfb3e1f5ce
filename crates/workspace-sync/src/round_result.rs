//! Result of one round over the old tree.

use std::path::PathBuf;

use anyhow::Result;

/// Changes that one round made; they are on the disk.
#[derive(Debug, Default)]
pub struct DeltaRound {
    /// Entries that were replaced, made or added to.
    pub copied: u64,
    /// Entries that were removed because they had been removed in the old tree.
    pub removed: u64,
    /// Files that both sides had written; the old one lies beside the new one.
    pub kept: Vec<PathBuf>,
    /// The first of what could not be carried over. The next round tries it again, and all that was is not done twice.
    pub failed: Option<anyhow::Error>,
}

impl DeltaRound {
    /// Returns whether there was nothing to do.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.copied == 0 && self.removed == 0
    }

    /// An error if not all was carried over.
    pub fn complete(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}
