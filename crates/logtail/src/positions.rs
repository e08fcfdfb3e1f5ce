//! How far each log was read, kept for the next run.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use crate::identity::FileId;
use crate::place::Place;
use crate::stream::Position;

/// What the last run left, and what was kept since.
#[derive(Debug)]
pub struct Positions {
    place: Place,
    are_the_first: bool,
    /// Of logs that have not come back yet: they keep their place.
    left: BTreeMap<PathBuf, Position>,
    kept: Option<BTreeMap<PathBuf, Position>>,
    /// Whether they could not be kept the last time, which is said once.
    unkept: bool,
}

impl Positions {
    /// Those that the last run left.
    pub fn load(place: Place) -> Self {
        let left = place.load();
        let are_the_first = left.is_none();
        Self { place, are_the_first, left: left.unwrap_or_default(), kept: None, unkept: false }
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
        let saved = self.place.save(&positions);
        let failed = saved.is_err();
        match saved {
            Ok(()) => self.kept = Some(positions),
            Err(error) if is_full(&error) || self.unkept => {}
            Err(error) => log::warn!("{error:#}"),
        }
        self.unkept = failed;
    }
}

/// A full disk is remarked where the record is written.
fn is_full(error: &anyhow::Error) -> bool {
    error
        .chain()
        .filter_map(|cause| cause.downcast_ref::<io::Error>())
        .any(|cause| matches!(cause.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded))
}
