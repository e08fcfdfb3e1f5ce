//! Lines that were lost, or may be.

use std::collections::BTreeMap;
use std::mem;

/// Losses of a log.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Unread bytes of files that were dropped.
    pub bytes: u64,
    /// True if files may have come and gone unseen.
    pub maybe_files: bool,
    /// Compressed files that cannot be read, with the reason.
    pub unreadable: BTreeMap<String, String>,
}

impl Gaps {
    /// Returns the losses since the last call.
    pub fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// Returns the messages about them.
    pub fn messages(&self, log: &str) -> Vec<String> {
        let mut all = Vec::new();
        if self.bytes > 0 {
            all.push(format!("lost {} bytes of {log}: rotated away before they were read", self.bytes));
        }
        if self.maybe_files {
            all.push(format!(
                "{log} may be missing lines: it was rotated or truncated, and the last file read no longer exists"
            ));
        }
        for (name, why) in &self.unreadable {
            all.push(format!("{log} may be missing lines: cannot decompress {name}: {why}"));
        }
        all
    }
}
