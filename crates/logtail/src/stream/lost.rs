//! What was not read and is not to be had any more.

use std::collections::BTreeMap;
use std::mem;

/// What of a log is lost.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Lost {
    /// Of files that were given up, because too many waited.
    pub bytes: u64,
    /// Whether there may have been files that nobody has seen.
    pub perhaps_files: bool,
    /// Compressed files by name, and why they cannot be read.
    pub unreadable: BTreeMap<String, String>,
}

impl Lost {
    /// Hands out what there is, and begins anew.
    pub fn take(&mut self) -> Self {
        mem::take(self)
    }

    /// What there is to be said about it.
    pub fn sentences(&self, log: &str) -> Vec<String> {
        let mut all = Vec::new();
        if self.bytes > 0 {
            all.push(format!("{} bytes of {log} are lost: rotated away unread", self.bytes));
        }
        if self.perhaps_files {
            all.push(format!(
                "lines of {log} may be missing: it was rotated or cut, and what was read last is gone"
            ));
        }
        for (name, why) in &self.unreadable {
            all.push(format!("lines of {log} may be missing: cannot unpack {name}: {why}"));
        }
        all
    }
}
