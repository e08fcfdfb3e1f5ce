//! Which files to read after a rotation, and in which order; a decision without effects.

use std::collections::BTreeSet;

use crate::identity::FileId;

/// The files of one log, as they are called at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Family {
    /// `x.log`, if it is there.
    pub base: Option<FileId>,
    /// `x.log.N`, the newest (least N) first.
    pub rotated: Vec<(u32, FileId)>,
}

impl Family {
    /// Everything but the base.
    pub fn rotated_ids(&self) -> BTreeSet<FileId> {
        self.rotated.iter().map(|&(_, id)| id).collect()
    }
}

/// A file to read: a rotated one, or the base.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Next {
    /// Nothing means the base.
    pub number: Option<u32>,
    pub id: FileId,
}

/// What to read after `newest`, the oldest first; `known` are rotated files that were there before.
///
/// Several rotations may lie between two looks. What was the base in between is a rotated file by now: one that was
/// not there before, and is newer than the one that we read. While the base is still the file that we read, a new
/// rotated file is a copy of it and holds nothing new.
pub fn next(newest: Option<FileId>, known: &BTreeSet<FileId>, family: &Family) -> Vec<Next> {
    if newest.is_some() && family.base == newest {
        return Vec::new();
    }
    let ours = family.rotated.iter().find(|(_, id)| Some(*id) == newest).map(|&(number, _)| number);
    let missed = family
        .rotated
        .iter()
        .rev()
        .filter(|(number, id)| ours.is_none_or(|ours| *number < ours) && !known.contains(id))
        .map(|&(number, id)| Next { number: Some(number), id });
    missed.chain(family.base.map(|id| Next { number: None, id })).collect()
}

/// Rotated files that were not there before and are older than `newest`, the oldest first: copies of what it held
/// once, or strangers.
pub fn older(newest: Option<FileId>, known: &BTreeSet<FileId>, family: &Family) -> Vec<Next> {
    let ours = family.rotated.iter().find(|(_, id)| Some(*id) == newest).map(|&(number, _)| number);
    let is_base = newest.is_some() && family.base == newest;
    let rotated =
        family.rotated.iter().rev().filter(|(number, id)| {
            (is_base || ours.is_some_and(|ours| *number > ours)) && !known.contains(id)
        });
    rotated.map(|&(number, id)| Next { number: Some(number), id }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(inode: u64) -> FileId {
        serde_json::from_value(serde_json::json!({"inode": inode, "born": null})).unwrap()
    }

    /// What is read after `newest`, as (number, inode); number 0 is the base.
    fn order(newest: u64, known: &[u64], base: u64, rotated: &[u64]) -> Vec<(u32, FileId)> {
        let some = |inode| (inode > 0).then(|| id(inode));
        let rotated = (1..).zip(rotated.iter().map(|&inode| id(inode))).collect();
        let known = known.iter().map(|&inode| id(inode)).collect();
        let steps = next(some(newest), &known, &Family { base: some(base), rotated });
        steps.into_iter().map(|step| (step.number.unwrap_or(0), step.id)).collect()
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
        let family =
            |base: u64| Family { base: Some(id(base)), rotated: vec![(1, id(9)), (2, id(5)), (3, id(8))] };
        let older = |newest: u64, known: &[u64], base: u64| {
            let known = known.iter().map(|&inode| id(inode)).collect();
            let older = super::older(Some(id(newest)), &known, &family(base)).into_iter();
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
    fn what_was_rotated_before_the_first_look_is_read_unless_it_is_from_before_our_start() {
        assert_eq!(order(0, &[], 6, &[5, 4]), [(2, id(4)), (1, id(5)), (0, id(6))]);
        assert_eq!(order(0, &[4, 5], 6, &[5, 4]), [(0, id(6))]);
        assert_eq!(order(0, &[], 0, &[]), []);
    }
}
