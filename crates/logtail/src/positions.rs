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

    /// The same of a file that was read under another name in the same directory.
    pub fn left_in(&self, directory: &Path, file: FileId) -> Option<&Position> {
        let mut left = self.left.iter().filter(|(log, _)| log.parent() == Some(directory));
        left.find(|(_, position)| position.is_in(file)).map(|(_, position)| position)
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
