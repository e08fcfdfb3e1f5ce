//! What was not read and is not to be had any more.

use std::collections::BTreeMap;
use std::mem;

/// What of a log is lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Gaps {
    /// Of files that were given up, because too many waited.
    pub bytes: u64,
    /// Whether there may have been files that nobody has seen.
    pub maybe_files: bool,
    /// Compressed files by name, and why they cannot be read.
    pub unreadable: BTreeMap<String, String>,
}

impl Gaps {
    /// Hands out what there is, and begins reopened.
    pub fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// What there is to be said about it.
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
