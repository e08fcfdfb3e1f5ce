//! The state of the monitor: a file that `status` and the portal read.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};
use serde::{Deserialize, Serialize};

/// Where the monitor keeps it.
pub const PATH: &str = "/run/leonardo/storage-monitor.json";
/// So many conflicts and problems are told one by one; all conflicts are counted.
pub const LISTED: usize = 100;
/// No monitor writes more.
const LARGEST: u64 = 1 << 20;

/// What the monitor knows. Names are quoted, with escapes for what is not printable or not UTF-8.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Status {
    /// The process.
    pub pid: u32,
    /// The storage.
    pub storage: PathBuf,
    /// Links in directories of applications.
    pub links: usize,
    /// Links in the storage to files that the image ships.
    pub shipped: usize,
    /// Names that more than one file wants, or that something else has.
    pub conflicts: usize,
    /// The first of them, as sentences.
    pub conflict_list: Vec<String>,
    /// What failed, as sentences.
    pub problems: Vec<String>,
    /// Directories of the mapping that cannot be used now, with the reason.
    pub waiting: BTreeMap<String, String>,
    /// What events tell: `complete`, `partial` (others may change the volume too) or `none`.
    pub events: String,
    /// Seconds until everything is looked at again, whatever is heard.
    pub rescan_seconds: u64,
    /// How long the last look at everything took, in milliseconds, without the changes that it made.
    pub scan_milliseconds: u64,
    /// When the last look at everything began, in milliseconds since the machine's start.
    pub scan_began: u64,
}

impl Status {
    /// Reads the file; nothing if there is none, because the monitor has not run yet.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(text) = ReadPolicy::max_size(LARGEST).read_if_exists(path)? else { return Ok(None) };
        serde_json::from_slice(&text).with_context(|| format!("cannot read {}", path.display())).map(Some)
    }

    /// Replaces the file, readable for everybody.
    pub fn write(&self, path: &Path) -> Result<()> {
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic::write(path, &text, WriteOptions::volatile(0o644))
    }

    /// Whether the process still is the monitor that wrote this.
    #[must_use]
    pub fn is_running(&self) -> bool {
        let name = std::fs::read_to_string(format!("/proc/{}/comm", self.pid)).unwrap_or_default();
        // All of it: the kernel keeps 15 bytes of a name (proc(5)), and this one has no more.
        name.trim_end() == "storage-monitor"
    }

    /// All that somebody should know, as sentences.
    #[must_use]
    pub fn complaints(&self) -> Vec<String> {
        let mut all = self.problems.clone();
        all.extend(self.waiting.iter().map(|(directory, why)| format!("{directory} waits: {why}")));
        all.extend(self.conflict_list.iter().cloned());
        all.extend(more(self.conflicts, self.conflict_list.len()));
        all
    }

    /// One line: what is linked, and how much could not be.
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

/// A sentence about conflicts that were not named.
pub fn more(conflicts: usize, named: usize) -> Option<String> {
    let more = conflicts.saturating_sub(named);
    (more > 0).then(|| format!("{more} more names are taken"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_said() {
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
        assert_eq!(status.complaints(), ["p", "\"/x\" waits: why", "c", "2 more names are taken"]);
        assert!(!status.is_running());
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
