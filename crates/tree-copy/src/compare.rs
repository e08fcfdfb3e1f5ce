//! Compares two entries by their metadata.

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dirfd::FileType;

use crate::attributes::{same_access, same_time};
use crate::capabilities::Capabilities;
use crate::copy_file::TICK;
use crate::metadata::{Metadata, Time};
use crate::observer::Difference;

/// Result of a comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Equal.
    Same,
    /// Equal content with another owner, mode or time.
    Access,
    /// Another entry.
    Other,
}

/// Compares type, size, time, device number, mode and owner; not the target of links and not hidden attributes.
pub(crate) fn compare(source: &Metadata, target: &Metadata, can: &Capabilities) -> Verdict {
    let same_thing = source.kind == target.kind
        && is_alone(source, target)
        && match source.kind {
            FileType::RegularFile => {
                source.size == target.size && same_time(source.modified, target.modified, can)
            }
            FileType::CharacterDevice | FileType::BlockDevice => source.special == target.special,
            _ => true,
        };
    if !same_thing {
        return Verdict::Other;
    }
    let same_times = match source.kind {
        // A directory's time changes until everything in it is done, see leave.
        FileType::Directory => true,
        FileType::Symlink => !can.link_times || same_time(source.modified, target.modified, can),
        _ => same_time(source.modified, target.modified, can),
    };
    if same_times && same_access(source, target, can) { Verdict::Same } else { Verdict::Access }
}

/// Returns the difference of two compared entries; `own` is false if the target's file stands for another entry.
pub(crate) fn difference(
    source: &Metadata,
    target: &Metadata,
    verdict: Option<Verdict>,
    own: bool,
    can: &Capabilities,
) -> Difference {
    let other = verdict == Some(Verdict::Other);
    match source.kind {
        kind if kind != target.kind => Difference::Kind,
        FileType::RegularFile if !same_time(source.modified, target.modified, can) => Difference::Modified,
        FileType::RegularFile if source.size != target.size => Difference::Content,
        FileType::RegularFile if other && !(own && is_alone(source, target)) => Difference::HardLinks,
        FileType::RegularFile if other => Difference::Content,
        FileType::Symlink if other && own => Difference::Modified,
        FileType::CharacterDevice | FileType::BlockDevice if source.special != target.special => {
            Difference::Kind
        }
        _ if other => Difference::HardLinks,
        _ => Difference::Metadata,
    }
}

/// False if two files of the source would be one file in the target, where a change of one changes the other.
fn is_alone(source: &Metadata, target: &Metadata) -> bool {
    source.is_directory() || target.links == 1 || source.links > 1
}

/// Times that limit the trust in the change time of an inode, by the clock of this machine.
#[derive(Debug, Clone, Copy)]
pub(crate) struct ChangeTimes {
    /// Entries of the source that changed after this are compared in detail.
    pub recently: Time,
    /// Entries of the target that changed after this were changed by this pass.
    pub started: Time,
}

impl ChangeTimes {
    /// Returns the times of a pass that starts now.
    pub fn now() -> Self {
        // Passes follow each other while programs change the source.
        const RECENTLY: Duration = Duration::from_mins(1);
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let time =
            |since: Duration| (i64::try_from(since.as_secs()).unwrap_or(i64::MAX), since.subsec_nanos());
        Self {
            recently: time(now.saturating_sub(RECENTLY)),
            // File times are those of the last tick.
            started: time(now.saturating_sub(TICK)),
        }
    }

    /// True if the source's inode changed after the target was made equal to it.
    ///
    /// The target's inode changed last when it was made, or when a hard link was added or removed. If this pass did
    /// that, the change time proves nothing about the copy.
    fn source_is_newer(&self, source: &Metadata, target: &Metadata) -> bool {
        source.changed >= target.changed || target.changed >= self.started
    }

    /// True if a file with the target's size and time may have other content: it was renamed to this name after the
    /// copy, or written in the same tick of a coarse clock.
    pub fn may_be_another(&self, source: &Metadata, target: &Metadata) -> bool {
        self.source_is_newer(source, target)
    }

    /// True if extended attributes must be compared: only the inode's change time shows a change of them.
    pub fn attributes_may_differ(&self, source: &Metadata, target: &Metadata, can: &Capabilities) -> bool {
        let directory = source.is_directory();
        let has_names = !directory && (source.links > 1 || target.links > 1);
        // A directory gets its time after its attributes, and changes of its entries change its inode: with another
        // time, it is another directory, or a pass was killed before it set the attributes.
        let unfinished = directory && !same_time(source.modified, target.modified, can);
        self.source_is_newer(source, target) || source.changed >= self.recently || has_names || unfinished
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::metadata::FILE;

    #[test]
    fn each_part_of_the_metadata_decides() {
        let full = Capabilities::FULL;
        let cases = [
            (Metadata { inode: 99, device: 7, accessed: (9, 9), changed: (9, 9), ..FILE }, Verdict::Same),
            (Metadata { size: 11, ..FILE }, Verdict::Other),
            (Metadata { modified: (100, 6), ..FILE }, Verdict::Other),
            (Metadata { kind: FileType::Directory, ..FILE }, Verdict::Other),
            (Metadata { links: 2, ..FILE }, Verdict::Other),
            (Metadata { mode: 0o755, ..FILE }, Verdict::Access),
            (Metadata { owner: (0, 1000), ..FILE }, Verdict::Access),
        ];
        for (target, verdict) in cases {
            assert_eq!(compare(&FILE, &target, &full), verdict, "{target:?}");
        }
    }

    #[test]
    fn what_the_target_cannot_keep_is_no_difference() {
        let poor = Capabilities { owner: false, time_granularity: 1_000_000_000, ..Capabilities::FULL };
        let target = Metadata { owner: (0, 0), mode: 0o755, modified: (100, 0), ..FILE };
        assert_eq!(compare(&FILE, &target, &poor), Verdict::Same, "the set-id bit went with the owner");
        let poor = Capabilities { mode: false, ..poor };
        assert_eq!(compare(&FILE, &Metadata { mode: 0o777, ..target }, &poor), Verdict::Same);
    }

    #[test]
    fn a_link_whose_time_cannot_be_set_is_not_judged_by_it() {
        let link = Metadata { kind: FileType::Symlink, ..FILE };
        let other = Metadata { modified: (1, 1), ..link };
        assert_eq!(compare(&link, &other, &Capabilities::FULL), Verdict::Access);
        let can = Capabilities { link_times: false, ..Capabilities::FULL };
        assert_eq!(compare(&link, &other, &can), Verdict::Same);
    }

    #[test]
    fn two_entries_are_not_one_in_the_target() {
        let full = Capabilities::FULL;
        for kind in [FileType::RegularFile, FileType::Symlink, FileType::Fifo, FileType::CharacterDevice] {
            let (one, two) = (Metadata { kind, ..FILE }, Metadata { kind, links: 2, ..FILE });
            assert_eq!(compare(&one, &two, &full), Verdict::Other, "{kind:?}");
            assert_eq!(
                compare(&two, &one, &full),
                Verdict::Same,
                "other names are outside the tree: {kind:?}"
            );
        }
        let directory = Metadata { kind: FileType::Directory, ..FILE };
        assert_eq!(compare(&directory, &Metadata { links: 9, ..directory }, &full), Verdict::Same);
    }

    const MOMENTS: ChangeTimes = ChangeTimes { recently: (5_000, 0), started: (5_060, 500) };

    #[test]
    fn a_copy_that_is_newer_than_the_source_is_believed() {
        let cases = [
            ((200, 1), false),
            ((200, 0), true),
            ((199, 9), true),
            ((5_060, 499), false),
            ((5_060, 500), true),
        ];
        for (changed, closer) in cases {
            let target = Metadata { changed, ..FILE };
            assert_eq!(MOMENTS.may_be_another(&FILE, &target), closer, "{changed:?}");
            assert_eq!(
                MOMENTS.attributes_may_differ(&FILE, &target, &Capabilities::FULL),
                closer,
                "{changed:?}"
            );
        }
    }

    #[test]
    fn attributes_are_looked_at_where_the_time_of_the_change_says_little() {
        let differ = |source: Metadata, target: Metadata| {
            let target = Metadata { changed: (5_001, 0), ..target };
            MOMENTS.attributes_may_differ(&source, &target, &Capabilities::FULL)
        };
        let directory = Metadata { kind: FileType::Directory, links: 5, ..FILE };
        let link = Metadata { kind: FileType::Symlink, ..FILE };
        assert!(!differ(FILE, FILE) && !differ(directory, directory) && !differ(link, link));
        assert!(differ(Metadata { changed: (5_000, 0), ..FILE }, FILE), "changed recently");
        assert!(differ(Metadata { links: 2, ..FILE }, FILE) && differ(link, Metadata { links: 2, ..link }));
        assert!(differ(directory, Metadata { modified: (101, 0), ..directory }), "not finished");
    }

    #[test]
    fn a_difference_has_the_name_of_what_was_done() {
        let can = Capabilities::FULL;
        let linked = Metadata { links: 2, ..FILE };
        let link = Metadata { kind: FileType::Symlink, ..FILE };
        let other = Some(Verdict::Other);
        let cases = [
            (FILE, link, other, true, Difference::Kind),
            (FILE, Metadata { modified: (1, 1), size: 1, ..FILE }, other, true, Difference::Modified),
            (FILE, Metadata { size: 1, ..FILE }, other, true, Difference::Content),
            (FILE, FILE, other, true, Difference::Content),
            (FILE, linked, other, true, Difference::HardLinks),
            (linked, FILE, other, false, Difference::HardLinks),
            (FILE, Metadata { mode: 0o777, ..FILE }, Some(Verdict::Access), true, Difference::Metadata),
            (FILE, FILE, Some(Verdict::Same), true, Difference::Metadata),
            (link, link, other, true, Difference::Modified),
            (link, link, other, false, Difference::HardLinks),
        ];
        for (source, target, verdict, own, expected) in cases {
            assert_eq!(difference(&source, &target, verdict, own, &can), expected, "{source:?} {target:?}");
        }
    }
}
