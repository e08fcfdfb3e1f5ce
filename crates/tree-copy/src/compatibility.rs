//! Decides if a target can hold a tree, and lists the losses of the copy.

use std::fmt;

use serde::Serialize;

use crate::capabilities::Capabilities;
use crate::survey::Needs;

/// A property of the source that the copy loses; the copy works without it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Degradation {
    /// All entries get the target's owner.
    OwnerNotKept,
    /// Permission bits are the target's; execution still works.
    ModeNotKept,
    /// Each hard-linked name becomes a file of its own and takes space.
    HardLinksBecomeCopies,
    /// Extended attributes are not copied.
    AttributesDropped,
    /// Access control lists are not copied.
    AccessListsDropped,
    /// FIFOs are not copied.
    SpecialFilesDropped,
    /// Times are rounded, to this many nanoseconds.
    TimesRounded(u64),
}

/// Reasons why a copy there would not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// There are symbolic links and the target has none.
    SymbolicLinks(u64),
    /// There are programs and the target cannot mark files as executable.
    Executables(u64),
    /// Two names would become one; the number of such names, and one of them.
    CaseCollisions(u64, String),
    /// Names are longer than the target allows: the longest one, the limit.
    LongNames(usize, usize),
    /// Names that are not UTF-8, which the target does not support.
    OddNames(u64),
    /// Files cannot be replaced by renaming, so no update would be atomic.
    Rename,
}

impl fmt::Display for Degradation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OwnerNotKept => formatter.write_str("owners are not kept"),
            Self::ModeNotKept => formatter.write_str("permission bits are not kept"),
            Self::HardLinksBecomeCopies => formatter.write_str("hard links become copies and use more space"),
            Self::AttributesDropped => formatter.write_str("extended attributes are not copied"),
            Self::AccessListsDropped => formatter.write_str("access control lists are not copied"),
            Self::SpecialFilesDropped => formatter.write_str("special files are not copied"),
            Self::TimesRounded(nanoseconds) => write!(formatter, "times are rounded to {nanoseconds} ns"),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::SymbolicLinks(count) => {
                write!(formatter, "the file system does not support symbolic links ({count} needed)")
            }
            Self::Executables(count) => {
                write!(formatter, "{count} executable files cannot be stored as executable")
            }
            Self::CaseCollisions(count, name) => {
                write!(
                    formatter,
                    "{count} names differ only by case, which that file system ignores, such as {name}"
                )
            }
            Self::LongNames(longest, limit) => {
                write!(formatter, "a name has {longest} bytes and that file system allows {limit}")
            }
            Self::OddNames(count) => {
                write!(formatter, "{count} names are not UTF-8, which the file system does not support")
            }
            Self::Rename => formatter.write_str("files there cannot be replaced by renaming"),
        }
    }
}

impl std::error::Error for Refusal {}

/// Compares the needs of a tree with the capabilities of the target.
///
/// Returns the losses in a fixed order; refuses a copy that would be unusable.
pub fn check_compatibility(needs: &Needs, can: &Capabilities) -> Result<Vec<Degradation>, Refusal> {
    if let Some(refusal) = refuse(needs, can) {
        return Err(refusal);
    }
    let lost = [
        (!can.owner && needs.foreign_owners > 0, Degradation::OwnerNotKept),
        (!can.mode, Degradation::ModeNotKept),
        (!can.hard_links && needs.hard_links > 0, Degradation::HardLinksBecomeCopies),
        (!can.attributes && needs.attributes > 0, Degradation::AttributesDropped),
        (!can.access_lists && needs.access_lists > 0, Degradation::AccessListsDropped),
        (!can.special_files && needs.special_files > 0, Degradation::SpecialFilesDropped),
        (can.time_granularity > 1, Degradation::TimesRounded(can.time_granularity)),
    ];
    Ok(lost.into_iter().filter_map(|(applies, degradation)| applies.then_some(degradation)).collect())
}

fn refuse(needs: &Needs, can: &Capabilities) -> Option<Refusal> {
    if !can.rename_over {
        return Some(Refusal::Rename);
    }
    if !can.symbolic_links && needs.symbolic_links > 0 {
        return Some(Refusal::SymbolicLinks(needs.symbolic_links));
    }
    if !can.executable && needs.executables > 0 {
        return Some(Refusal::Executables(needs.executables));
    }
    if !can.case_sensitive && needs.case_collisions > 0 {
        let name = needs.case_collision.clone().unwrap_or_default();
        return Some(Refusal::CaseCollisions(needs.case_collisions, name));
    }
    if needs.longest_name > can.longest_name {
        return Some(Refusal::LongNames(needs.longest_name, can.longest_name));
    }
    (!can.any_name && needs.odd_names > 0).then_some(Refusal::OddNames(needs.odd_names))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn everything() -> Needs {
        Needs {
            symbolic_links: 1,
            hard_links: 2,
            attributes: 3,
            access_lists: 4,
            executables: 5,
            special_files: 6,
            foreign_owners: 7,
            case_collisions: 8,
            case_collision: Some("Readme".to_owned()),
            odd_names: 9,
            longest_name: 255,
        }
    }

    #[test]
    fn a_full_file_system_loses_nothing() {
        assert_eq!(check_compatibility(&everything(), &Capabilities::FULL), Ok(vec![]));
    }

    #[test]
    fn what_the_copy_can_live_without_is_listed() {
        let poor = Capabilities {
            owner: false,
            mode: false,
            hard_links: false,
            attributes: false,
            access_lists: false,
            special_files: false,
            time_granularity: 100,
            ..Capabilities::FULL
        };
        assert_eq!(
            check_compatibility(&everything(), &poor),
            Ok(vec![
                Degradation::OwnerNotKept,
                Degradation::ModeNotKept,
                Degradation::HardLinksBecomeCopies,
                Degradation::AttributesDropped,
                Degradation::AccessListsDropped,
                Degradation::SpecialFilesDropped,
                Degradation::TimesRounded(100),
            ])
        );
        assert_eq!(
            check_compatibility(&Needs::default(), &poor),
            Ok(vec![Degradation::ModeNotKept, Degradation::TimesRounded(100)]),
            "what the tree does not use is not lost"
        );
    }

    #[test]
    fn what_the_copy_cannot_live_without_is_refused_with_the_number() {
        let full = Capabilities::FULL;
        let cases = [
            (Capabilities { rename_over: false, ..full }, Refusal::Rename),
            (Capabilities { symbolic_links: false, ..full }, Refusal::SymbolicLinks(1)),
            (Capabilities { executable: false, ..full }, Refusal::Executables(5)),
            (Capabilities { case_sensitive: false, ..full }, Refusal::CaseCollisions(8, "Readme".to_owned())),
            (Capabilities { longest_name: 143, ..full }, Refusal::LongNames(255, 143)),
            (Capabilities { any_name: false, ..full }, Refusal::OddNames(9)),
        ];
        for (can, refusal) in cases {
            assert_eq!(check_compatibility(&everything(), &can), Err(refusal));
            if can.rename_over {
                assert_eq!(check_compatibility(&Needs::default(), &can), Ok(vec![]));
            }
        }
    }
}
