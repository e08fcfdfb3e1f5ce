//! State of the monitor: a file that `status` and the portal read.

use std::collections::BTreeMap;
use std::fs::DirBuilder;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};
use kit::process::Process;
use nix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// Path of the file.
pub const PATH: &str = "/run/leonardo/storage-monitor.json";
/// Limit of the file, in bytes: 400 sentences of 1,000 characters, each of which may be escaped, are less.
const MAX_BYTES: u64 = 4 << 20;

/// Links and problems. Names are quoted, with escapes for bytes that are not printable or not UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// Process id of the monitor.
    pub pid: u32,
    /// Path of the storage.
    pub storage: PathBuf,
    /// Number of links in directories of applications.
    pub links: usize,
    /// Number of links in the storage to files that the image ships.
    pub shipped: usize,
    /// Number of names that several files want, or that something else has.
    pub conflicts: usize,
    /// The first conflicts, as sentences.
    pub conflict_list: Vec<String>,
    /// Problems, as sentences.
    pub problems: Vec<String>,
    /// Directories of the mapping that cannot be used now, with the reason.
    pub waiting: BTreeMap<String, String>,
    /// Coverage of changes by events: `complete`, `partial` (other machines may change the volume too) or `none`.
    pub events: String,
    /// Seconds until everything is scanned again, even without events.
    pub rescan_seconds: u64,
    /// Duration of the last scan of everything without the changes that it made, in milliseconds.
    pub scan_milliseconds: u64,
    /// Start of the last scan of everything, in milliseconds since the machine's start.
    pub scan_began: u64,
}

impl Status {
    /// Reads the file; `None` if it does not exist, because the monitor has not run yet.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(text) = ReadPolicy::max_size(MAX_BYTES).read_if_exists(path)? else { return Ok(None) };
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display())).map(Some)
    }

    /// Replaces the file, readable for all users.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            make_directories(folder)?;
        }
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic::write(path, &text, WriteOptions::volatile(0o644))
    }

    /// True if the process still is the monitor that wrote this.
    #[must_use]
    pub fn is_running(&self) -> bool {
        // The kernel keeps 15 bytes of a name (proc(5)), and this name has no more.
        Process::new(self.pid).runs("storage-monitor")
    }

    /// Returns problems, waiting directories and conflicts, as sentences.
    #[must_use]
    pub fn messages(&self) -> Vec<String> {
        let mut all = self.problems.clone();
        all.extend(self.waiting.iter().map(|(directory, why)| format!("{directory} is pending: {why}")));
        all.extend(self.conflict_list.iter().cloned());
        all.extend(omitted_message(self.conflicts, self.conflict_list.len()));
        all
    }

    /// Returns one line: how many files are linked, and how many conflicts there are.
    #[must_use]
    pub fn summary(&self) -> String {
        let count = |number: usize, one: &str, many: &str| match number {
            1 => format!("1 {one}"),
            number => format!("{number} {many}"),
        };
        let mut parts =
            vec![format!("{} into applications", count(self.links, "file linked", "files linked"))];
        if self.shipped > 0 {
            parts.push(format!("{} of the image in the storage", count(self.shipped, "file", "files")));
        }
        if self.conflicts > 0 {
            parts.push(count(self.conflicts, "conflict", "conflicts"));
        }
        parts.join(", ")
    }
}

/// Returns a message about conflicts that were not listed.
pub fn omitted_message(conflicts: usize, listed: usize) -> Option<String> {
    let more = conflicts.saturating_sub(listed);
    (more > 0).then(|| format!("{more} more {}", if more == 1 { "conflict" } else { "conflicts" }))
}

/// Creates a directory and its parents.
pub fn make_directories(path: &Path) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o755).create(path);
    made.with_context(|| format!("cannot create {}", path.display()))
}

/// Milliseconds since the machine's start.
pub fn milliseconds_since_boot() -> u64 {
    // Every Linux kernel has this clock.
    let now = clock_gettime(ClockId::CLOCK_BOOTTIME).map(Duration::from).unwrap_or_default();
    u64::try_from(now.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::findings::{LISTED, abbreviate};

    #[test]
    fn a_state_is_read_as_it_was_written() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("run/status.json");
        assert_eq!(Status::read(&file).unwrap(), None);
        let status = Status {
            pid: 1,
            links: 1,
            shipped: 2,
            conflicts: 3,
            conflict_list: vec!["c".into()],
            problems: vec!["p".into()],
            waiting: BTreeMap::from([("\"/x\"".into(), "why".into())]),
            ..Status::default()
        };
        status.write(&file).unwrap();
        assert_eq!(Status::read(&file).unwrap().as_ref(), Some(&status));
        assert_eq!(
            status.summary(),
            "1 file linked into applications, 2 files of the image in the storage, 3 conflicts"
        );
        assert_eq!(status.messages(), ["p", "\"/x\" is pending: why", "c", "2 more conflicts"]);
        assert!(!status.is_running());
    }

    #[test]
    fn a_state_with_the_longest_sentences_can_be_read() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("status.json");
        let worst = || (0..LISTED).map(|number| abbreviate(&format!("{number}{}", "\u{1}".repeat(1 << 12))));
        let status = Status {
            conflict_list: worst().collect(),
            problems: worst().chain(worst()).collect(),
            waiting: worst().zip(worst()).collect(),
            ..Status::default()
        };
        status.write(&file).unwrap();
        assert_eq!(Status::read(&file).unwrap(), Some(status));
    }

    #[test]
    fn a_process_that_is_called_a_little_like_it_is_another() {
        for (name, is_it) in [("storage", false), ("storage-monitor", true)] {
            let thread = std::thread::Builder::new().name(name.into());
            let pid = thread.spawn(|| {
                let pid = u32::try_from(nix::unistd::gettid().as_raw()).unwrap();
                Status { pid, ..Status::default() }.is_running()
            });
            assert_eq!(pid.unwrap().join().unwrap(), is_it, "{name}");
        }
    }
}
