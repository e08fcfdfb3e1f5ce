//! Result of one round over the old tree.

use std::path::PathBuf;

use anyhow::Result;

/// Changes of one round, synced to the disk.
#[derive(Debug, Default)]
pub struct DeltaRound {
    /// Entries that were created, replaced or appended to.
    pub copied: u64,
    /// Entries that were removed because they had been removed in the old tree.
    pub removed: u64,
    /// Files written on both sides; the old one is kept beside the new one.
    pub kept: Vec<PathBuf>,
    /// First error. The next round retries that entry and skips copied ones.
    pub failed: Option<anyhow::Error>,
}

impl DeltaRound {
    /// True if nothing changed.
    #[must_use]
    pub fn is_quiet(&self) -> bool {
        self.copied == 0 && self.removed == 0
    }

    /// Fails with the first error, if there is one.
    pub fn complete(self) -> Result<()> {
        self.failed.map_or(Ok(()), Err)
    }
}
