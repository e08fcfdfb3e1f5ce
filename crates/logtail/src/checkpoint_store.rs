//! How far each log was read, saved for the next run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

use crate::checkpoint::Checkpoint;
use crate::file_id::FileId;

/// Far more than the positions of all logs take, in bytes.
const MAX_BYTES: u64 = 64 << 20;

/// What the last run left, and what was saved since.
#[derive(Debug)]
pub struct CheckpointStore {
    path: PathBuf,
    is_first_run: bool,
    /// Of logs that have not come back yet: they keep their place.
    pending: BTreeMap<PathBuf, Checkpoint>,
    saved: Option<BTreeMap<PathBuf, Checkpoint>>,
    /// Whether they could not be saved the last time, which is said once.
    save_failed: bool,
}

impl CheckpointStore {
    /// Loads those that the last run left. A file that cannot be read is reported, and as good as none.
    pub fn load(path: PathBuf) -> Self {
        let left = read(&path).unwrap_or_else(|error| {
            log::warn!("{error:#}; reading every log from the start");
            None
        });
        let is_first_run = left.is_none();
        Self { path, is_first_run, pending: left.unwrap_or_default(), saved: None, save_failed: false }
    }

    /// Whether no run has left any.
    pub fn is_first_run(&self) -> bool {
        self.is_first_run
    }

    /// Where the last run was in a log, until that log has [`come back`](Self::resumed).
    pub fn pending(&self, log: &Path) -> Option<&Checkpoint> {
        self.pending.get(log)
    }

    /// Returns the log of a directory that was in this file under another name, and where.
    pub fn pending_in(&self, directory: &Path, file: FileId) -> Option<(&Path, &Checkpoint)> {
        self.pending_below(directory).find(|(_, position)| position.is_in(file))
    }

    /// True if another log of a directory, which has not come back yet, was read to the end of this file.
    pub fn has_read(&self, directory: &Path, log: &str, file: FileId) -> bool {
        self.pending_below(directory)
            .any(|(other, position)| !other.ends_with(log) && position.has_read(file))
    }

    fn pending_below(&self, directory: &Path) -> impl Iterator<Item = (&Path, &Checkpoint)> {
        let left = self.pending.iter().map(|(log, position)| (log.as_path(), position));
        left.filter(move |(log, _)| log.parent() == Some(directory))
    }

    /// Paths of logs that have not come back yet.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.pending.keys().map(PathBuf::as_path)
    }

    /// The log is followed again.
    pub fn resumed(&mut self, log: &Path) {
        self.pending.remove(log);
    }

    /// Keeps where logs are now.
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
    serde_json::from_slice(&text).map(Some).with_context(|| format!("cannot understand {}", path.display()))
}

fn save(path: &Path, positions: &BTreeMap<PathBuf, Checkpoint>) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let text = serde_json::to_vec(positions).context("cannot save the checkpoints")?;
    atomic::write_if_changed(path, &text, WriteOptions::volatile(0o600)).map(drop)
}

/// A full disk is remarked where the record is written.
fn is_full(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As version 0.1 has written it.
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
