//! Whether two entries are the same, from what the file system says about them.

use rustix::fs::FileType;

use crate::attributes::{same_access, same_time};
use crate::capabilities::Capabilities;
use crate::meta::Meta;

/// What is to be done about an entry of the target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Looks the same.
    Same,
    /// The same thing with another owner, mode or time.
    Access,
    /// Something else.
    Other,
}

/// Judges by type, size, time, device number, mode and owner. The text of links and hidden attributes are not seen here.
pub(crate) fn compare(source: &Meta, target: &Meta, can: &Capabilities) -> Verdict {
    let same_thing = source.kind == target.kind
        && match source.kind {
            FileType::RegularFile => {
                source.size == target.size
                    && same_time(source.modified, target.modified, can)
                    // Two files of the source must not be one in the target: writing to the one changed the other.
                    && (target.links == 1 || source.links > 1)
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

/// Whether a file with the size and time of the target's may have another content all the same: it was renamed to this
/// place after the copy was made, or written in the same tick of a coarse clock.
pub(crate) fn may_be_another(source: &Meta, target: &Meta) -> bool {
    source.changed >= target.changed
}

/// Whether extended attributes have to be looked at: they leave no mark but the time of the inode's change.
///
/// The target's inode was changed last when it was made, or when a further name of it came or went. If the source's was
/// changed after that, or since `recently` (in seconds), its attributes may be other ones.
pub(crate) fn attributes_may_differ(source: &Meta, target: &Meta, recently: i64) -> bool {
    let has_names = source.kind == FileType::RegularFile && (source.links > 1 || target.links > 1);
    source.changed >= target.changed || source.changed.0 >= recently || has_names
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: Meta = Meta {
        kind: FileType::RegularFile,
        mode: 0o4755,
        owner: (1000, 1000),
        size: 10,
        allocated: 4096,
        accessed: (1, 0),
        modified: (100, 5),
        changed: (200, 0),
        device: 1,
        inode: 2,
        links: 1,
        special: 0,
    };

    #[test]
    fn each_part_of_the_metadata_decides() {
        let full = Capabilities::FULL;
        let cases = [
            (Meta { inode: 99, device: 7, accessed: (9, 9), changed: (9, 9), ..FILE }, Verdict::Same),
            (Meta { size: 11, ..FILE }, Verdict::Other),
            (Meta { modified: (100, 6), ..FILE }, Verdict::Other),
            (Meta { kind: FileType::Directory, ..FILE }, Verdict::Other),
            (Meta { links: 2, ..FILE }, Verdict::Other),
            (Meta { mode: 0o755, ..FILE }, Verdict::Access),
            (Meta { owner: (0, 1000), ..FILE }, Verdict::Access),
        ];
        for (target, verdict) in cases {
            assert_eq!(compare(&FILE, &target, &full), verdict, "{target:?}");
        }
    }

    #[test]
    fn what_the_target_cannot_keep_is_no_difference() {
        let poor = Capabilities { owner: false, time_granularity: 1_000_000_000, ..Capabilities::FULL };
        let target = Meta { owner: (0, 0), mode: 0o755, modified: (100, 0), ..FILE };
        assert_eq!(compare(&FILE, &target, &poor), Verdict::Same, "the set-id bit went with the owner");
        let poor = Capabilities { mode: false, ..poor };
        assert_eq!(compare(&FILE, &Meta { mode: 0o777, ..target }, &poor), Verdict::Same);
    }

    #[test]
    fn a_link_whose_time_cannot_be_set_is_not_judged_by_it() {
        let link = Meta { kind: FileType::Symlink, ..FILE };
        let other = Meta { modified: (1, 1), ..link };
        assert_eq!(compare(&link, &other, &Capabilities::FULL), Verdict::Access);
        let can = Capabilities { link_times: false, ..Capabilities::FULL };
        assert_eq!(compare(&link, &other, &can), Verdict::Same);
    }
}
