//! Results of a scan: counts of changes, conflicts and errors.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use kit::quote::quoted;

/// Number of conflicts and problems that are listed one by one; all conflicts are counted.
pub const LISTED: usize = 100;
/// Number of conflicts that are kept.
const RETAINED: usize = 10 * LISTED;
/// Characters of an abbreviated message that are kept, at its beginning and at its end.
const HALF: usize = 500;

/// A file of the storage that has no link because its name is taken.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Conflict {
    pub name: Box<[u8]>,
    /// The directory of the storage whose entry does not get the name.
    pub source: PathBuf,
    /// The directory whose entry does; `None` if something that is not ours has it.
    pub winner: Option<PathBuf>,
}

impl Conflict {
    /// Returns the message about the conflict; `target` is the directory with the name.
    pub fn message(&self, target: &Path) -> String {
        let name = OsStr::from_bytes(&self.name);
        let (path, file) = (quoted(&target.join(name)), quoted(&self.source.join(name)));
        abbreviate(&match &self.winner {
            Some(winner) => format!("{path} links to {}, not to {file}", quoted(&winner.join(name))),
            None => format!("{path} already exists and is not a link to {file}"),
        })
    }
}

/// Returns a message without its middle if it is too long: paths may have any length, and each byte of a name may need
/// an escape.
pub fn abbreviate(message: &str) -> String {
    let ends = (message.char_indices().nth(HALF), message.char_indices().rev().nth(HALF));
    match ends {
        (Some((head, _)), Some((tail, _))) if head < tail => {
            format!("{} … {}", &message[..head], &message[tail..])
        }
        _ => message.to_owned(),
    }
}

/// Conflicts and errors of one directory.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Finding {
    /// The first conflicts.
    pub conflicts: Vec<Conflict>,
    /// Number of conflicts.
    pub count: usize,
    /// The first error of the system.
    pub error: Option<String>,
}

/// Findings by directory.
#[derive(Debug, Default)]
pub struct Findings {
    all: BTreeMap<PathBuf, Finding>,
    /// Number of conflicts that are kept.
    kept: usize,
    /// Number of conflicts.
    count: usize,
}

impl Findings {
    /// Findings of each directory.
    pub fn iter(&self) -> impl Iterator<Item = (&PathBuf, &Finding)> {
        self.all.iter()
    }

    /// Number of names that are taken.
    pub fn count(&self) -> usize {
        self.count
    }

    /// True if there is a conflict or an error in a directory.
    pub fn has(&self, target: &Path) -> bool {
        self.all.contains_key(target)
    }

    /// Forgets all findings.
    pub fn clear(&mut self) {
        *self = Self::default();
    }

    /// Replaces the findings of a directory by these: the first conflicts, and the number of all.
    pub fn set(&mut self, target: &Path, mut conflicts: Vec<Conflict>, count: usize, error: Option<String>) {
        if let Some(former) = self.all.remove(target) {
            self.kept -= former.conflicts.len();
            self.count -= former.count;
        }
        if count > 0 || error.is_some() {
            conflicts.truncate(RETAINED - self.kept);
            self.kept += conflicts.len();
            self.count += count;
            self.all.insert(target.to_owned(), Finding { conflicts, count, error });
        }
    }
}

/// Changes that a scan made.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ScanCounts {
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
    /// Time that the changes took.
    pub change_time: Duration,
    /// Error of the ledger's file.
    pub ledger_error: Option<String>,
}

impl ScanCounts {
    /// True if nothing was changed.
    pub fn is_idle(&self) -> bool {
        self.linked + self.removed + self.directories + self.removed_directories == 0
    }

    /// Adds those of another scan.
    pub fn add(&mut self, other: Self) {
        self.linked += other.linked;
        self.removed += other.removed;
        self.directories += other.directories;
        self.removed_directories += other.removed_directories;
        self.failed += other.failed;
        self.change_time += other.change_time;
        self.ledger_error = self.ledger_error.take().or(other.ledger_error);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn conflicts_are_counted_and_a_thousand_at_most_are_kept() {
        let conflict = |number: usize| Conflict {
            name: format!("{number:06}").into_bytes().into(),
            source: PathBuf::new(),
            winner: None,
        };
        let listed = || (0..LISTED).map(conflict).collect::<Vec<_>>();
        let mut findings = Findings::default();
        for target in ["/a", "/b", "/c", "/d", "/e", "/f", "/g", "/h", "/i", "/j", "/k"] {
            findings.set(Path::new(target), listed(), 200_000, None);
        }
        let kept: Vec<_> = findings.iter().map(|(_, finding)| finding.conflicts.len()).collect();
        assert_eq!(kept, [[LISTED; 10].as_slice(), &[0]].concat());
        assert_eq!(findings.count(), 11 * 200_000);
        findings.set(Path::new("/a"), vec![conflict(1)], 1, None);
        findings.set(Path::new("/k"), listed(), 150, None);
        assert_eq!(findings.iter().last().unwrap().1.conflicts.len(), LISTED - 1);
        let has = ["/a", "/b", "/k", "/x"].map(|target| findings.has(Path::new(target)));
        assert_eq!((has, findings.count()), ([true, true, true, false], 9 * 200_000 + 151));
        findings.set(Path::new("/a"), Vec::new(), 0, Some("error".into()));
        assert!(findings.has(Path::new("/a")));
        for target in ["/a", "/b"] {
            findings.set(Path::new(target), Vec::new(), 0, None);
        }
        assert_eq!((findings.count(), findings.iter().count()), (8 * 200_000 + 150, 9));
    }

    #[test]
    fn a_long_sentence_keeps_its_ends() {
        assert_eq!(abbreviate("short"), "short");
        let whole = "ä".repeat(2 * HALF);
        assert_eq!(abbreviate(&whole), whole);
        let long = format!("a{}z", "ä".repeat(1 << 20));
        let short = abbreviate(&long);
        assert!(short.starts_with("aä") && short.ends_with("äz"));
        assert_eq!(short.chars().count(), 2 * HALF + 4);
    }
}
