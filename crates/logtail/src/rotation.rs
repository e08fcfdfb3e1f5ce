//! Order of the files to read after a rotation.

use std::collections::BTreeSet;

use log_history::file_id::FileId;
use log_history::log_files::{LogFile, LogFiles};

/// Returns the files to read after `newest`, the oldest first; `known` are the earlier rotated files.
///
/// Several rotations may lie between two scans. A file that was current in between is a new rotated file, and newer than the
/// one being read. While the current file is the one being read, a new rotated file is a copy of it, with nothing new.
pub fn successors(newest: Option<FileId>, known: &BTreeSet<FileId>, family: &LogFiles) -> Vec<LogFile> {
    if newest.is_some() && family.base_id() == newest {
        return Vec::new();
    }
    let newer = &family.rotated[..family.place_of(newest).unwrap_or(family.rotated.len())];
    let missed = newer.iter().rev().filter(|file| !known.contains(&file.id));
    missed.chain(&family.base).cloned().collect()
}

/// Returns new files that are older than `newest`, the oldest first: copies of its content, or unrelated files.
pub fn copy_candidates(newest: Option<FileId>, known: &BTreeSet<FileId>, family: &LogFiles) -> Vec<LogFile> {
    let from = match family.place_of(newest) {
        Some(ours) => ours + 1,
        None if newest.is_some() && family.base_id() == newest => 0,
        None => return Vec::new(),
    };
    family.rotated[from..].iter().rev().filter(|file| !known.contains(&file.id)).cloned().collect()
}

#[cfg(test)]
mod tests {
    use log_history::file_name::{Compression, RotationName};

    use super::*;

    fn id(inode: u64) -> FileId {
        serde_json::from_value(serde_json::json!({"inode": inode, "born": null})).unwrap()
    }

    fn named(number: u32, id: FileId) -> LogFile {
        LogFile {
            name: number.to_string(),
            id,
            role: RotationName::Number(number),
            packing: Compression::Plain,
        }
    }

    fn family(base: Option<FileId>, rotated: Vec<LogFile>) -> LogFiles {
        LogFiles { base: base.map(|id| named(0, id)), rotated }
    }

    /// Returns the files after `newest` as (number, inode); number 0 is the current file.
    fn order(newest: u64, known: &[u64], base: u64, rotated: &[u64]) -> Vec<(u32, FileId)> {
        let some = |inode| (inode > 0).then(|| id(inode));
        let rotated = (1..).zip(rotated).map(|(number, inode)| named(number, id(*inode))).collect();
        let known = known.iter().map(|&inode| id(inode)).collect();
        let steps = successors(some(newest), &known, &family(some(base), rotated));
        steps.into_iter().map(|step| (step.name.parse().unwrap(), step.id)).collect()
    }

    #[test]
    fn one_rotation_leads_to_the_new_base() {
        assert_eq!(order(5, &[4], 6, &[5, 4]), [(0, id(6))]);
        assert_eq!(order(5, &[4], 6, &[5]), [(0, id(6))], "the oldest went");
        assert_eq!(order(5, &[], 6, &[]), [(0, id(6))], "ours was deleted");
    }

    #[test]
    fn several_rotations_between_two_looks_are_read_from_the_oldest_on() {
        assert_eq!(order(5, &[4], 8, &[7, 6, 5, 4]), [(2, id(6)), (1, id(7)), (0, id(8))]);
        assert_eq!(order(5, &[4], 9, &[8, 7]), [(2, id(7)), (1, id(8)), (0, id(9))], "ours went already");
    }

    #[test]
    fn a_base_that_is_not_made_yet_is_waited_for() {
        assert_eq!(order(5, &[], 0, &[5]), []);
        assert_eq!(order(5, &[], 0, &[6, 5]), [(1, id(6))]);
    }

    #[test]
    fn what_is_older_than_the_file_that_we_read_may_be_copies_of_it() {
        let rotated = || (1..).zip([9, 5, 8]).map(|(number, inode)| named(number, id(inode))).collect();
        let family = |base: u64| family(Some(id(base)), rotated());
        let older = |newest: u64, known: &[u64], base: u64| {
            let known = known.iter().map(|&inode| id(inode)).collect();
            let older = super::copy_candidates(Some(id(newest)), &known, &family(base)).into_iter();
            older.map(|step| step.id).collect::<Vec<_>>()
        };
        assert_eq!(older(6, &[8], 6), [id(5), id(9)]);
        assert_eq!(older(5, &[], 6), [id(8)]);
        assert_eq!(older(4, &[], 6), [], "ours is gone");
    }

    #[test]
    fn a_copy_of_what_we_read_is_not_read() {
        assert_eq!(order(5, &[], 5, &[9]), []);
        assert_eq!(order(5, &[], 6, &[5, 9]), [(0, id(6))], "the copy is older than what we have read");
    }

    #[test]
    fn files_rotated_before_the_first_scan_are_read_unless_older_than_our_start() {
        assert_eq!(order(0, &[], 6, &[5, 4]), [(2, id(4)), (1, id(5)), (0, id(6))]);
        assert_eq!(order(0, &[4, 5], 6, &[5, 4]), [(0, id(6))]);
        assert_eq!(order(0, &[], 0, &[]), []);
    }
}
