//! Result of a walk: counts of changes and errors.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::change::ChangeKind;

/// Errors of one kind: their number, and the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ErrorCount {
    /// Number of errors.
    pub count: u64,
    /// Smallest of the paths, so that another run reports the same one.
    pub first: PathBuf,
    /// Error message of the system for that path.
    pub reason: String,
}

/// Entries of one kind: their number, and the first one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EntryCount {
    /// Number of entries.
    pub count: u64,
    /// Smallest of the paths.
    pub first: PathBuf,
}

/// Counts of one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Summary {
    /// Entries checked.
    pub entries: u64,
    /// Changes made, or needed in a dry run.
    pub changes: BTreeMap<ChangeKind, u64>,
    /// Changes that the file system does not support or allow, by [`ChangeKind::name`] or `read`.
    pub refused: BTreeMap<&'static str, ErrorCount>,
    /// Other failures, by the same names: a full disk, a broken device.
    pub failed: BTreeMap<&'static str, ErrorCount>,
    /// Mount points in the tree, which were not entered.
    pub mounts: u64,
    /// Wrong files that were skipped: with hard links outside the tree, or privileged programs.
    pub left_alone: u64,
    /// Entries of `/opt` that only root can read, which were skipped with their content.
    pub private: Option<EntryCount>,
}

/// Treatment of an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ErrorClass {
    Vanished,
    Refused,
    Failed,
}

impl Summary {
    /// True if every change was made that the file system supports and allows.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// Number of changes of all kinds.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changes.values().sum()
    }

    /// Counts a change.
    pub(crate) fn change(&mut self, kind: ChangeKind) {
        *self.changes.entry(kind).or_default() += 1;
    }

    /// Counts an error; a vanished entry is none.
    pub(crate) fn error(&mut self, operation: &'static str, path: &Path, error: &io::Error) {
        let errors = match classify(error) {
            ErrorClass::Vanished => return,
            ErrorClass::Refused => &mut self.refused,
            ErrorClass::Failed => &mut self.failed,
        };
        // exacl preserves only the kind of an error, and adds a path through /proc.
        let reason = match error.raw_os_error() {
            Some(_) => error.to_string(),
            None => error.kind().to_string(),
        };
        add_error(errors, operation, ErrorCount { count: 1, first: path.to_owned(), reason });
    }

    /// Counts a private entry.
    pub(crate) fn add_private(&mut self, other: EntryCount) {
        let known =
            self.private.take().unwrap_or_else(|| EntryCount { count: 0, first: other.first.clone() });
        let first = known.first.min(other.first);
        self.private = Some(EntryCount { count: known.count + other.count, first });
    }

    /// Adds the counts of another thread.
    pub(crate) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.mounts += other.mounts;
        self.left_alone += other.left_alone;
        if let Some(private) = other.private {
            self.add_private(private);
        }
        for (kind, count) in other.changes {
            *self.changes.entry(kind).or_default() += count;
        }
        for (ours, theirs) in [(&mut self.refused, other.refused), (&mut self.failed, other.failed)] {
            for (operation, error) in theirs {
                add_error(ours, operation, error);
            }
        }
    }
}

/// Adds to the count of a kind of error, and keeps the smallest path: threads visit entries in any order.
fn add_error(errors: &mut BTreeMap<&'static str, ErrorCount>, operation: &'static str, error: ErrorCount) {
    match errors.entry(operation) {
        Entry::Vacant(vacant) => drop(vacant.insert(error)),
        Entry::Occupied(mut occupied) => {
            let known = occupied.get_mut();
            known.count += error.count;
            if error.first < known.first {
                (known.first, known.reason) = (error.first, error.reason);
            }
        }
    }
}

fn classify(error: &io::Error) -> ErrorClass {
    use io::ErrorKind::{
        NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, StaleNetworkFileHandle, Unsupported,
    };
    // Replaced by a symbolic link, which is never followed.
    if error.raw_os_error() == Some(Errno::ELOOP as i32) {
        return ErrorClass::Vanished;
    }
    match error.kind() {
        // Removed or replaced during the walk.
        NotFound | NotADirectory | StaleNetworkFileHandle => ErrorClass::Vanished,
        PermissionDenied | Unsupported | ReadOnlyFilesystem => ErrorClass::Refused,
        _ => ErrorClass::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error_count(count: u64, first: &str, reason: &str) -> ErrorCount {
        ErrorCount { count, first: first.into(), reason: reason.into() }
    }

    #[test]
    fn errors_are_classified_and_the_first_path_is_reported() {
        let mut summary = Summary::default();
        let os = io::Error::from_raw_os_error;
        // ENOENT, ENOTDIR, ELOOP; EPERM, EROFS, EOPNOTSUPP; EIO, ENOSPC.
        for number in [2, 20, 40] {
            summary.error("read", Path::new("/gone"), &os(number));
        }
        assert_eq!(summary, Summary::default());
        for (path, number) in [("/a", 1), ("/b", 30), ("/c", 95)] {
            summary.error("mode", Path::new(path), &os(number));
        }
        summary.error("default_acl", Path::new("/d"), &io::ErrorKind::Unsupported.into());
        assert!(summary.is_complete());
        for (path, number) in [("/e", 5), ("/f", 28)] {
            summary.error("mode", Path::new(path), &os(number));
        }
        let refused = BTreeMap::from([
            ("default_acl", error_count(1, "/d", "unsupported")),
            ("mode", error_count(3, "/a", "Operation not permitted (os error 1)")),
        ]);
        let failed = BTreeMap::from([("mode", error_count(2, "/e", "Input/output error (os error 5)"))]);
        assert_eq!(summary, Summary { refused, failed, ..Summary::default() });
        assert!(!summary.is_complete());
    }

    #[test]
    fn workers_counts_add_up() {
        let mut one = Summary { entries: 2, ..Summary::default() };
        one.change(ChangeKind::Mode);
        one.error("mode", Path::new("/a"), &io::Error::from_raw_os_error(1));
        let private = |count, first: &str| EntryCount { count, first: first.into() };
        one.add_private(private(1, "/p"));
        let mut sum = one.clone();
        sum.add_private(private(1, "/n"));
        sum.add(one);
        let refused =
            BTreeMap::from([("mode", error_count(2, "/a", "Operation not permitted (os error 1)"))]);
        let changes = BTreeMap::from([(ChangeKind::Mode, 2)]);
        assert_eq!(
            sum,
            Summary { entries: 4, changes, refused, private: Some(private(3, "/n")), ..Summary::default() }
        );
    }
}
