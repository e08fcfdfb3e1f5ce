//! What a pass did, and what it could not do.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::status::LISTED;

/// So many conflicts are kept; of one directory no more than are listed.
const KEPT: usize = 10 * LISTED;

/// A file of the storage that has no link because its name is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    /// The name.
    pub name: Vec<u8>,
    /// The directory of the storage whose entry does not get the name.
    pub source: PathBuf,
    /// The directory whose entry does; nothing if something that is not ours has it.
    pub winner: Option<PathBuf>,
}

/// What is wrong in one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// The first names that are taken.
    pub conflicts: Vec<Conflict>,
    /// How many there are.
    pub count: usize,
    /// The first error of the system, if there was one.
    pub errors: Vec<String>,
}

impl Finding {
    /// Whether a look at a part of the directory cannot tell what is wrong in the whole afterwards.
    fn is_partial(&self) -> bool {
        // An error hides what else is wrong there.
        !self.errors.is_empty() || self.conflicts.len() < self.count
    }
}

/// What could not be done, by directory. Of conflicts, so many are kept as somebody may want to read; all are counted.
#[derive(Debug, Default)]
pub struct Findings {
    all: BTreeMap<PathBuf, Finding>,
    /// Conflicts that are kept.
    kept: usize,
    /// Conflicts that there are.
    count: usize,
}

impl Findings {
    /// Those of each directory.
    pub fn iter(&self) -> impl Iterator<Item = (&PathBuf, &Finding)> {
        self.all.iter()
    }

    /// How many names are taken.
    pub fn count(&self) -> usize {
        self.count
    }

    /// Whether a directory has to be looked at as a whole, because too little is known about it.
    pub fn are_partial(&self, place: &Path) -> bool {
        self.all.get(place).is_some_and(Finding::is_partial)
    }

    /// Nothing is known to be wrong.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Nothing is known about this directory any more.
    pub fn remove(&mut self, place: &Path) -> Finding {
        let finding = self.all.remove(place).unwrap_or_default();
        self.kept -= finding.conflicts.len();
        self.count -= finding.count;
        finding
    }

    /// Sets what is wrong in a directory; the conflicts come in the order of their names.
    pub fn set(&mut self, place: &Path, conflicts: impl IntoIterator<Item = Conflict>, errors: Vec<String>) {
        self.remove(place);
        let mut finding = Finding { errors, ..Finding::default() };
        for conflict in conflicts {
            finding.count += 1;
            if finding.count <= LISTED && self.kept < KEPT {
                self.kept += 1;
                finding.conflicts.push(conflict);
            }
        }
        self.count += finding.count;
        if finding != Finding::default() {
            self.all.insert(place.to_owned(), finding);
        }
    }
}

/// What a pass changed.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Tally {
    /// Links made or replaced.
    pub linked: usize,
    /// Links removed.
    pub removed: usize,
    /// Directories made.
    pub directories: usize,
    /// Directories removed.
    pub removed_directories: usize,
    /// Steps and directories that failed.
    pub failed: usize,
    /// How long it took to make changes.
    pub changing: Duration,
    /// Why the ledger could not be written.
    pub ledger: Option<String>,
}

impl Tally {
    /// Whether anything was changed.
    pub fn is_idle(&self) -> bool {
        self.linked + self.removed + self.directories + self.removed_directories == 0
    }

    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.linked += other.linked;
        self.removed += other.removed;
        self.directories += other.directories;
        self.removed_directories += other.removed_directories;
        self.failed += other.failed;
        self.changing += other.changing;
        self.ledger = self.ledger.take().or(other.ledger);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_counted_and_no_more_are_kept_than_somebody_reads() {
        let conflict = |number: usize| Conflict {
            name: format!("{number:06}").into_bytes(),
            source: PathBuf::new(),
            winner: None,
        };
        let mut findings = Findings::default();
        for place in ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k"] {
            findings.set(Path::new(place), (0..200_000).map(conflict), Vec::new());
        }
        let kept: Vec<_> = findings.iter().map(|(_, finding)| finding.conflicts.len()).collect();
        assert_eq!(kept, [[LISTED; 10].as_slice(), &[0]].concat());
        assert_eq!(findings.count(), 11 * 200_000);
        findings.set(Path::new("/a"), [conflict(1)], Vec::new());
        findings.set(Path::new("/k"), (0..50).map(conflict), Vec::new());
        let partial = ["/a", "/b", "/k", "/x"].map(|place| findings.are_partial(Path::new(place)));
        assert_eq!((partial, findings.count()), ([false, true, false, false], 9 * 200_000 + 51));
        findings.set(Path::new("/a"), [], vec!["error".into()]);
        assert!(findings.are_partial(Path::new("/a")));
        for place in ["/a", "/b"] {
            findings.set(Path::new(place), [], Vec::new());
        }
        assert_eq!((findings.count(), findings.iter().count()), (8 * 200_000 + 50, 9));
    }
}
