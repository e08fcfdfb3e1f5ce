//! How far each log was read, kept for the next run.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

use crate::identity::FileId;
use crate::position::Position;

/// Far more than the positions of all logs take, in bytes.
const LARGEST: u64 = 64 << 20;

/// What the last run left, and what was kept since.
#[derive(Debug)]
pub struct Positions {
    path: PathBuf,
    are_the_first: bool,
    /// Of logs that have not come back yet: they keep their place.
    left: BTreeMap<PathBuf, Position>,
    kept: Option<BTreeMap<PathBuf, Position>>,
    /// Whether they could not be kept the last time, which is said once.
    unkept: bool,
}

impl Positions {
    /// Loads those that the last run left. A file that cannot be read is reported, and as good as none.
    pub fn load(path: PathBuf) -> Self {
        let left = read(&path).unwrap_or_else(|error| {
            log::warn!("{error:#}; every log is shown from its beginning");
            None
        });
        let are_the_first = left.is_none();
        Self { path, are_the_first, left: left.unwrap_or_default(), kept: None, unkept: false }
    }

    /// Whether no run has left any.
    pub fn are_the_first(&self) -> bool {
        self.are_the_first
    }

    /// Where the last run was in a log, until that log has [`come back`](Self::is_back).
    pub fn left(&self, log: &Path) -> Option<&Position> {
        self.left.get(log)
    }

    /// Returns the log of a directory that was in this file under another name, and where.
    pub fn left_in(&self, directory: &Path, file: FileId) -> Option<(&Path, &Position)> {
        self.left_below(directory).find(|(_, position)| position.is_in(file))
    }

    /// True if another log of a directory, which has not come back yet, was read to the end of this file.
    pub fn has_read(&self, directory: &Path, log: &str, file: FileId) -> bool {
        self.left_below(directory).any(|(other, position)| !other.ends_with(log) && position.has_read(file))
    }

    fn left_below(&self, directory: &Path) -> impl Iterator<Item = (&Path, &Position)> {
        let left = self.left.iter().map(|(log, position)| (log.as_path(), position));
        left.filter(move |(log, _)| log.parent() == Some(directory))
    }

    /// Paths of logs that have not come back yet.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.left.keys().map(PathBuf::as_path)
    }

    /// The log is followed again.
    pub fn is_back(&mut self, log: &Path) {
        self.left.remove(log);
    }

    /// Keeps where logs are now.
    pub fn keep(&mut self, now: impl Iterator<Item = (PathBuf, Position)>) {
        let mut positions = self.left.clone();
        positions.extend(now);
        if self.kept.as_ref() == Some(&positions) {
            return;
        }
        let saved = save(&self.path, &positions);
        let failed = saved.is_err();
        match saved {
            Ok(()) => self.kept = Some(positions),
            Err(error) if is_full(&error) || self.unkept => {}
            Err(error) => log::warn!("{error:#}"),
        }
        self.unkept = failed;
    }
}

fn read(path: &Path) -> Result<Option<BTreeMap<PathBuf, Position>>> {
    let Some(text) = ReadPolicy::max_size(LARGEST).read_if_exists(path)? else { return Ok(None) };
    serde_json::from_slice(&text).map(Some).with_context(|| format!("cannot understand {}", path.display()))
}

fn save(path: &Path, positions: &BTreeMap<PathBuf, Position>) -> Result<()> {
    let parent = path.parent().unwrap_or(Path::new("/"));
    fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
    let text = serde_json::to_vec(positions).context("cannot write down positions")?;
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
        assert!(Positions::load(path.clone()).are_the_first());
        let stored: BTreeMap<PathBuf, Position> = serde_json::from_str(STORED).unwrap();
        Positions::load(path.clone()).keep(stored.clone().into_iter());
        assert_eq!(fs::read_to_string(&path).unwrap(), STORED, "the keys are read by the next version");
        assert_eq!(read(&path).unwrap(), Some(stored));
        fs::write(&path, "{").unwrap();
        assert!(Positions::load(path).are_the_first());
    }
}
