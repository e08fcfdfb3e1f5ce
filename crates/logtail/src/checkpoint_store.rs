//! Checkpoints of all logs, saved for the next run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};
use log_history::file_id::FileId;

use crate::checkpoint::Checkpoint;

/// Maximum size of the file in bytes: far more than all logs need.
const MAX_BYTES: u64 = 64 << 20;

/// Checkpoints of the last run, and those saved since.
#[derive(Debug)]
pub struct CheckpointStore {
    path: PathBuf,
    is_first_run: bool,
    /// Checkpoints of logs that have not reappeared yet.
    pending: BTreeMap<PathBuf, Checkpoint>,
    saved: Option<BTreeMap<PathBuf, Checkpoint>>,
    /// True after a failed save, which is reported once.
    save_failed: bool,
}

impl CheckpointStore {
    /// Loads the checkpoints of the last run. A file that cannot be read is reported and ignored.
    pub fn load(path: PathBuf) -> Self {
        let left = read(&path).unwrap_or_else(|error| {
            log::warn!("{error:#}; reading every log from the start");
            None
        });
        let is_first_run = left.is_none();
        Self { path, is_first_run, pending: left.unwrap_or_default(), saved: None, save_failed: false }
    }

    /// True if there was no file.
    pub fn is_first_run(&self) -> bool {
        self.is_first_run
    }

    /// Returns the checkpoint of a log, until that log is [`resumed`](Self::resumed).
    pub fn pending(&self, log: &Path) -> Option<&Checkpoint> {
        self.pending.get(log)
    }

    /// Returns the log of a directory that was being read from this file, and its checkpoint.
    pub fn pending_in(&self, directory: &Path, file: FileId) -> Option<(&Path, &Checkpoint)> {
        self.pending_below(directory).find(|(_, position)| position.is_in(file))
    }

    /// True if another log of the directory, not resumed yet, was read to the end of this file.
    pub fn has_read(&self, directory: &Path, log: &str, file: FileId) -> bool {
        self.pending_below(directory)
            .any(|(other, position)| !other.ends_with(log) && position.has_read(file))
    }

    fn pending_below(&self, directory: &Path) -> impl Iterator<Item = (&Path, &Checkpoint)> {
        let left = self.pending.iter().map(|(log, position)| (log.as_path(), position));
        left.filter(move |(log, _)| log.parent() == Some(directory))
    }

    /// Paths of logs that are not resumed yet.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pending.keys().map(PathBuf::as_path)
    }

    /// Drops the checkpoint of a log that is followed again.
    pub fn resumed(&mut self, log: &Path) {
        self.pending.remove(log);
    }

    /// Saves the checkpoints, if they have changed.
    pub fn save(&mut self, now: impl Iterator<Item = (PathBuf, Checkpoint)>) {
        let mut positions = self.pending.clone();
        positions.extend(now);
        if self.saved.as_ref() == Some(&positions) {
            return;
        }
        let saved = save(&self.path, &positions);
        let failed = saved.is_err();
        match saved {
            Ok(()) => self.saved = Some(positions),
            Err(error) if is_full(&error) || self.save_failed => {}
            Err(error) => log::warn!("{error:#}"),
        }
        self.save_failed = failed;
    }
}

fn read(path: &Path) -> Result<Option<BTreeMap<PathBuf, Checkpoint>>> {
    let Some(text) = ReadPolicy::max_size(MAX_BYTES).read_if_exists(path)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("cannot parse {}", path.display()))
}

fn save(path: &Path, positions: &BTreeMap<PathBuf, Checkpoint>) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let text = serde_json::to_vec(positions).context("cannot save the checkpoints")?;
    atomic::write_if_changed(path, &text, WriteOptions::volatile(0o600)).map(drop)
}

/// A full disk is reported where the merged log is written.
fn is_full(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As earlier versions have written it.
    const STORED: &str = r#"{"/x.log":{"reading":{"file":{"inode":7,"born":8},"offset":2,"mark":{"head":[97],"tail":[98],"end":3}},"known":[{"inode":9,"born":null}],"fingerprints":[[{"inode":9,"born":null},{"length":5,"ends":6}]],"late":[]}}"#;

    #[test]
    fn positions_are_kept_and_a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("below/positions.json");
        assert!(CheckpointStore::load(path.clone()).is_first_run());
        let stored: BTreeMap<PathBuf, Checkpoint> = serde_json::from_str(STORED).unwrap();
        CheckpointStore::load(path.clone()).save(stored.clone().into_iter());
        assert_eq!(fs::read_to_string(&path).unwrap(), STORED, "the keys are read by the next version");
        assert_eq!(read(&path).unwrap(), Some(stored));
        fs::write(&path, "{").unwrap();
        assert!(CheckpointStore::load(path).is_first_run());
    }
}
