//! What a walk came to.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::io;
use std::path::{Path, PathBuf};

use nix::errno::Errno;

use crate::change::ChangeKind;

/// Something that could not be done, several times: how often, where first, and why there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// How often.
    pub count: u64,
    /// The first of these places in the order of paths, so that another run says the same.
    pub first: PathBuf,
    /// The system's reason there.
    pub reason: String,
}

/// Counts of one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally {
    /// Entries that were looked at.
    pub entries: u64,
    /// Changes that were made, or would be.
    pub changes: BTreeMap<ChangeKind, u64>,
    /// What the file system does not do or does not allow, by [`ChangeKind::name`] or `read`; the rest is as it should be.
    pub refused: BTreeMap<&'static str, Trouble>,
    /// What went wrong, by the same names: a full disk, a broken device.
    pub failed: BTreeMap<&'static str, Trouble>,
    /// Mount points below the tree, which were not entered.
    pub mounts: u64,
    /// Wrong files that were left alone because they have a name outside the tree, or grant rights when they run.
    pub left: u64,
}

/// What to do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Nature {
    Vanished,
    Refused,
    Failed,
}

impl Tally {
    /// Whether everything was done that the file system can do.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.failed.is_empty()
    }

    /// How many changes were made, of all kinds.
    #[must_use]
    pub fn changed(&self) -> u64 {
        self.changes.values().sum()
    }

    /// Notes a change that was made.
    pub(crate) fn change(&mut self, kind: ChangeKind) {
        *self.changes.entry(kind).or_default() += 1;
    }

    /// Notes an error; an entry that has vanished is none.
    pub(crate) fn error(&mut self, what: &'static str, path: &Path, error: &io::Error) {
        let troubles = match nature(error) {
            Nature::Vanished => return,
            Nature::Refused => &mut self.refused,
            Nature::Failed => &mut self.failed,
        };
        // libacl's door keeps only the kind of an error, and adds a path that means nothing to people.
        let reason = match error.raw_os_error() {
            Some(_) => error.to_string(),
            None => error.kind().to_string(),
        };
        note(troubles, what, Trouble { count: 1, first: path.to_owned(), reason });
    }

    /// Adds what another worker counted in the same tree.
    pub(crate) fn add(&mut self, other: Self) {
        self.entries += other.entries;
        self.mounts += other.mounts;
        self.left += other.left;
        for (kind, count) in other.changes {
            *self.changes.entry(kind).or_default() += count;
        }
        for (mine, theirs) in [(&mut self.refused, other.refused), (&mut self.failed, other.failed)] {
            for (what, trouble) in theirs {
                note(mine, what, trouble);
            }
        }
    }
}

/// Adds up what happened; workers come to places in any order.
fn note(troubles: &mut BTreeMap<&'static str, Trouble>, what: &'static str, trouble: Trouble) {
    match troubles.entry(what) {
        Entry::Vacant(place) => drop(place.insert(trouble)),
        Entry::Occupied(mut place) => {
            let known = place.get_mut();
            known.count += trouble.count;
            if trouble.first < known.first {
                (known.first, known.reason) = (trouble.first, trouble.reason);
            }
        }
    }
}

fn nature(error: &io::Error) -> Nature {
    use io::ErrorKind::{
        NotADirectory, NotFound, PermissionDenied, ReadOnlyFilesystem, StaleNetworkFileHandle, Unsupported,
    };
    // Replaced by a link, which is never followed.
    if error.raw_os_error() == Some(Errno::ELOOP as i32) {
        return Nature::Vanished;
    }
    match error.kind() {
        // Removed, or replaced by something else, while we came.
        NotFound | NotADirectory | StaleNetworkFileHandle => Nature::Vanished,
        PermissionDenied | Unsupported | ReadOnlyFilesystem => Nature::Refused,
        _ => Nature::Failed,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trouble(count: u64, first: &str, reason: &str) -> Trouble {
        Trouble { count, first: first.into(), reason: reason.into() }
    }

    #[test]
    fn errors_are_sorted_by_what_can_be_done_about_them_and_the_first_is_named() {
        let mut tally = Tally::default();
        let os = io::Error::from_raw_os_error;
        // ENOENT, ENOTDIR, ELOOP; EPERM, EROFS, EOPNOTSUPP; EIO, ENOSPC.
        for number in [2, 20, 40] {
            tally.error("read", Path::new("/gone"), &os(number));
        }
        assert_eq!(tally, Tally::default());
        for (path, number) in [("/a", 1), ("/b", 30), ("/c", 95)] {
            tally.error("mode", Path::new(path), &os(number));
        }
        tally.error("default_acl", Path::new("/d"), &io::ErrorKind::Unsupported.into());
        assert!(tally.is_complete());
        for (path, number) in [("/e", 5), ("/f", 28)] {
            tally.error("mode", Path::new(path), &os(number));
        }
        let refused = BTreeMap::from([
            ("default_acl", trouble(1, "/d", "unsupported")),
            ("mode", trouble(3, "/a", "Operation not permitted (os error 1)")),
        ]);
        let failed = BTreeMap::from([("mode", trouble(2, "/e", "Input/output error (os error 5)"))]);
        assert_eq!(tally, Tally { refused, failed, ..Tally::default() });
        assert!(!tally.is_complete());
    }

    #[test]
    fn workers_counts_add_up() {
        let mut one = Tally { entries: 2, ..Tally::default() };
        one.change(ChangeKind::Mode);
        one.error("mode", Path::new("/a"), &io::Error::from_raw_os_error(1));
        let mut sum = one.clone();
        sum.add(one);
        let refused = BTreeMap::from([("mode", trouble(2, "/a", "Operation not permitted (os error 1)"))]);
        let changes = BTreeMap::from([(ChangeKind::Mode, 2)]);
        assert_eq!(sum, Tally { entries: 4, changes, refused, ..Tally::default() });
    }
}
