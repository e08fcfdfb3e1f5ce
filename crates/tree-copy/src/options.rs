//! Options of a pass, and its result.

use std::ffi::OsStr;
use std::thread;

use serde::Serialize;

use crate::capabilities::Capabilities;

/// Extent of the comparison of entries that look alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// Type, size, time of change, mode, owner and the text of links; content and extended attributes only where the
    /// source's inode was changed after the target's, by the clocks of the two file systems.
    Metadata,
    /// Every byte of every file and every extended attribute as well.
    Content,
}

/// Options of a pass.
#[derive(Debug, Clone, Copy)]
#[allow(clippy::struct_excessive_bools, reason = "independent wishes")]
pub struct Options<'a> {
    /// Worker threads; see [`Options::new`] for a good number.
    pub threads: usize,
    /// Extent of comparisons.
    pub check: Check,
    /// False: nothing is changed, differences are only counted.
    pub write: bool,
    /// True to remove from the target what the source lacks.
    pub prune: bool,
    /// Names directly in either root that are neither copied, compared, counted nor removed.
    pub keep: &'a [&'a OsStr],
    /// Capabilities of the target; see [`probe`](crate::probe).
    pub capabilities: &'a Capabilities,
    /// True to have everything that was written, and all removals, on the disk before the pass returns.
    pub durable: bool,
}

impl<'a> Options<'a> {
    /// A pass that writes and prunes, checks metadata, and is durable.
    #[must_use]
    pub fn new(capabilities: &'a Capabilities) -> Self {
        Self {
            threads: default_threads(),
            check: Check::Metadata,
            write: true,
            prune: true,
            keep: &[],
            capabilities,
            durable: true,
        }
    }
}

/// More threads than processors, because a cold disk answers many questions at once quicker than one after another.
#[must_use]
pub fn default_threads() -> usize {
    thread::available_parallelism().map_or(8, |processors| (processors.get() * 4).clamp(8, 32))
}

/// Counters of a pass, and the digest of its source; roots are not entries.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct PassStats {
    /// Entries of the source.
    pub entries: u64,
    /// Names of regular files among them, hard-linked ones each.
    pub files: u64,
    /// Apparent bytes of these files; of hard-linked ones once.
    pub bytes: u64,
    /// Files whose content was written.
    pub copied_files: u64,
    /// Bytes that were written for them, holes not included.
    pub copied_bytes: u64,
    /// Entries that were made or corrected, the copied files included.
    pub updated: u64,
    /// Entries that were removed from the target.
    pub removed: u64,
    /// Where nothing is written: entries that differ, are missing, or (with pruning) should not be there.
    pub differing: u64,
    /// Entries that went away while the pass ran.
    pub vanished: u64,
    /// Files that changed during each attempt to copy them, and directories that changed during the pass.
    #[serde(rename = "restless")]
    pub unstable: u64,
    /// Special files and mounts that were skipped.
    pub skipped: u64,
    /// Identifies the source's tree: names, types, modes, sizes and texts of links, in any order. An equal tree has
    /// the same; see [`Survey::digest`](crate::Survey::digest).
    #[serde(skip)]
    pub digest: [u8; 32],
}
