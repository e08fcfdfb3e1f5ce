//! State of a tree in this container, `/var/lib/leonardo/sync/NAME.json`.
//!
//! It is stored in the container, not on the workspace, because it describes the image's tree of this container.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

use crate::copied_state::EntryState;
use crate::copy_marker::Marker;
use crate::holders::Holder;
use crate::volume_clock::Timestamp;

/// State of one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct SyncState {
    /// Changes of the tree that programs used before the switch and may still write to.
    pub leftover: Option<PendingDelta>,
    /// True if a killed process may have left temporary entries in the copy.
    #[serde(rename = "unswept")]
    pub needs_sweep: bool,
}

/// A tree that was in use until the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PendingDelta {
    /// Identity of the copy in use since the switch; the state does not apply to another copy.
    #[serde(default)]
    pub copy: String,
    /// Changes at or after this time are not copied yet, by the clock of that file system.
    pub source_since: Timestamp,
    /// Changes of the copy after this time are another program's, by the clock of that file system.
    pub copy_since: Timestamp,
    /// Hidden processes of the first round after the switch. Later ones use the copy and do not delay a follower.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden: Option<Vec<u32>>,
    /// Parts of old files that were appended to new ones although both had grown, by [`key`].
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, AppendedBytes>,
    /// Entries that we copied after `copy_since`, by [`key`]: they are not another program's work.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub written: BTreeMap<String, OwnWrite>,
}

/// Part of an old file that was appended to the new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AppendedBytes {
    /// Inode of the old file, because logs are rotated.
    pub inode: u64,
    /// Length from its beginning.
    pub bytes: u64,
}

impl AppendedBytes {
    /// Returns the length if the file of this name is still the same and was not truncated.
    #[must_use]
    pub fn of(&self, old: &FileStat) -> Option<u64> {
        (self.inode == old.st_ino && self.bytes <= old.st_size.unsigned_abs()).then_some(self.bytes)
    }
}

/// An entry of the copy as we wrote it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct OwnWrite {
    /// Its inode.
    pub inode: u64,
    /// Its change time.
    pub changed: Timestamp,
    /// Its state.
    pub state: EntryState,
    /// Permissions of the old entry, and those that we set, if we did.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub permissions: Option<(u32, u32)>,
}

impl OwnWrite {
    /// Returns the record of an entry.
    pub fn of(stat: &FileStat) -> Self {
        let changed = Timestamp::change_time(stat);
        Self { inode: stat.st_ino, changed, state: EntryState::of(stat), permissions: None }
    }

    /// True if it was neither written nor replaced since.
    #[must_use]
    pub fn is_still(&self, stat: &FileStat) -> bool {
        self.inode == stat.st_ino && self.state.has_content_of(&EntryState::of(stat))
    }
}

/// Number of recorded entries. If programs keep writing more files, the others are kept beside the new ones, which
/// loses nothing.
const MAX_ENTRIES: usize = 4_096;

/// Returns a unique text for a path within a tree, which need not be UTF-8.
pub fn key(name: &Path) -> String {
    name.as_os_str().as_bytes().escape_ascii().to_string()
}

impl PendingDelta {
    /// Returns the state before any change is copied.
    pub fn new(copy: &Marker, source_since: Timestamp, copy_since: Timestamp) -> Self {
        Self {
            copy: copy.identity(),
            source_since,
            copy_since,
            hidden: None,
            carried: BTreeMap::new(),
            written: BTreeMap::new(),
        }
    }

    /// True if another container made the copy: the former state of its entries is unknown.
    #[must_use]
    pub fn is_from_other_container(&self) -> bool {
        self.copy_since == Timestamp(0, 0)
    }

    /// Returns the writers that may have files of the old tree open.
    pub fn relevant_writers(&mut self, writers: Vec<Holder>) -> Vec<Holder> {
        let hidden = || writers.iter().filter(|writer| writer.hidden).map(|writer| writer.pid).collect();
        let known = self.hidden.get_or_insert_with(hidden);
        writers.into_iter().filter(|writer| !writer.hidden || known.contains(&writer.pid)).collect()
    }

    /// Records that we wrote `name`; drops the older half if there are too many records.
    pub fn remember(&mut self, name: &Path, ours: OwnWrite) {
        self.written.insert(key(name), ours);
        if self.written.len() > MAX_ENTRIES * 2 {
            let mut moments: Vec<Timestamp> = self.written.values().map(|ours| ours.changed).collect();
            moments.sort_unstable();
            let oldest = moments[moments.len() - MAX_ENTRIES];
            self.written.retain(|_, ours| ours.changed >= oldest);
        }
    }
}

impl SyncState {
    /// Drops the state of another copy than `copy`: another container may have refreshed it, or this container was made
    /// from a saved image and has another volume.
    pub fn retain_for(&mut self, copy: &Marker) {
        self.leftover.take_if(|leftover| leftover.copy != copy.identity());
    }

    /// Records that changes of the image's tree since `first_start` must be copied to this copy. If another container
    /// made the copy, its entries are not changed, and this container's changes are kept beside them.
    pub fn expect_delta(&mut self, copy: &Marker, first_start: Option<Timestamp>) {
        self.retain_for(copy);
        if self.leftover.is_none() {
            self.leftover =
                first_start.map(|since| PendingDelta::new(copy, since.safely_before(), Timestamp(0, 0)));
        }
    }

    /// Loads the state; a missing or damaged file counts as empty, which costs another comparison and no data.
    pub fn load(directory: &Path, tree: &str) -> Self {
        fs::read(file(directory, tree))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Stores the state.
    pub fn store(&self, directory: &Path, tree: &str) -> Result<()> {
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic::write_if_changed(&file(directory, tree), &text, WriteOptions::durable(0o644)).map(drop)
    }
}

fn file(directory: &Path, tree: &str) -> PathBuf {
    directory.join(format!("{tree}.json"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ours(seconds: i64) -> OwnWrite {
        let state = EntryState { kind: 0o100_000, permissions: 0o644, size: 5, modified: Timestamp(1, 8) };
        OwnWrite { inode: 6, changed: Timestamp(seconds, 0), state, permissions: Some((0o644, 0o664)) }
    }

    #[test]
    fn what_is_stored_is_remembered_and_damage_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("sync");
        assert_eq!(SyncState::load(&place, "x"), SyncState::default());
        let state = SyncState {
            leftover: Some(PendingDelta {
                copy: "m-1".into(),
                source_since: Timestamp(1, 2),
                copy_since: Timestamp(3, 4),
                hidden: Some(vec![5]),
                carried: [("server.log".to_owned(), AppendedBytes { inode: 4, bytes: 5 })].into(),
                written: [("state.db".to_owned(), ours(7))].into(),
            }),
            needs_sweep: true,
        };
        state.store(&place, "x").unwrap();
        assert_eq!(SyncState::load(&place, "x"), state);
        fs::write(place.join("x.json"), "{").unwrap();
        assert_eq!(SyncState::load(&place, "x"), SyncState::default());
    }

    #[test]
    fn names_that_look_alike_have_different_keys() {
        let name = |bytes: &[u8]| key(Path::new(std::ffi::OsStr::from_bytes(bytes)));
        assert_eq!(name(b"logs/server.log"), "logs/server.log");
        assert_eq!(name(b"a\xff"), "a\\xff");
        assert_eq!(name(b"a\xfe"), "a\\xfe");
        assert_eq!(name(b"a\\xff"), "a\\\\xff");
    }

    #[test]
    fn records_of_a_million_copied_files_do_not_fill_the_memory() {
        let copy = Marker {
            tree: "x".into(),
            generation: "g".into(),
            manifest: "m".into(),
            entries: 0,
            bytes: 0,
            completed_at: 0,
        };
        let mut leftover = PendingDelta::new(&copy, Timestamp(0, 0), Timestamp(0, 0));
        for number in 0..20_000 {
            leftover.remember(Path::new(&format!("file-{number}")), ours(number));
        }
        assert!(leftover.written.len() <= MAX_ENTRIES * 2);
        assert_eq!(leftover.written.get("file-19999"), Some(&ours(19_999)));
    }

    #[test]
    fn who_hides_its_files_and_came_after_the_switch_is_not_waited_for() {
        let writer = |pid, hidden| Holder { pid, name: "x".into(), writes: true, hidden };
        let mut leftover = PendingDelta {
            copy: String::new(),
            source_since: Timestamp(0, 0),
            copy_since: Timestamp(0, 0),
            hidden: None,
            carried: BTreeMap::new(),
            written: BTreeMap::new(),
        };
        let first = vec![writer(1, false), writer(2, true)];
        assert_eq!(leftover.relevant_writers(first.clone()), first);
        let later = vec![writer(2, true), writer(3, true), writer(4, false)];
        assert_eq!(leftover.relevant_writers(later), [writer(2, true), writer(4, false)]);
    }
}
