//! The restricted entry: one entry in a file beside the journal, readable only by members of the log readers' group and
//! replaced by the next one.
//!
//! It does not grow, however long a script prints.

use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};

use crate::{Entry, INPUT};

/// Group whose members may read logs.
const GROUP: &str = "adm";

fn beside(journal: &Path) -> PathBuf {
    journal.with_extension("confided.json")
}

/// Replaces the entry.
pub fn write(journal: &Path, entry: &Entry) -> Result<()> {
    let mut text = serde_json::to_vec(entry).context("cannot serialize the entry")?;
    text.push(b'\n');
    atomic::write(&beside(journal), &text, placement())
}

/// Only root can read it if the group does not exist.
fn placement() -> WriteOptions {
    match uzers::get_group_by_name(GROUP) {
        Some(group) if uzers::get_effective_uid() == 0 => {
            WriteOptions::volatile(0o640).owned_by(0, group.gid())
        }
        _ => WriteOptions::volatile(0o600),
    }
}

/// Returns the entry if there is one that this process may read; a damaged one is ignored.
pub fn read(journal: &Path) -> Option<Entry> {
    serde_json::from_slice(&INPUT.read(&beside(journal)).ok()?).ok()
}

/// Removes the entry and temporary files of killed writers.
pub fn remove(journal: &Path) -> Result<()> {
    let path = beside(journal);
    atomic::remove_leftovers(&path)?;
    kit::remove_file(&path)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::MetadataExt;

    use super::*;
    use crate::{Event, Stage};

    #[test]
    fn it_is_for_readers_of_logs_alone() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("boot.jsonl");
        write(&journal, &Entry { at: 1.0, event: Event::StageStarted { stage: Stage::Sync } }).unwrap();
        let meta = fs::metadata(dir.path().join("boot.confided.json")).unwrap();
        let readers = uzers::get_group_by_name(GROUP).unwrap().gid();
        assert_eq!((meta.mode() & 0o7777, meta.uid(), meta.gid()), (0o640, 0, readers));
    }
}
