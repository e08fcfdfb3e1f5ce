//! Files with several names: they are changed when all of their names were met.
//!
//! Whoever may write to a directory can give a file of somebody else a name there (unless the kernel forbids it, which is a
//! setting of the machine: proc(5), `protected_hardlinks`). Rights that come with that name would be rights to the file.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

/// The wrong files of which some names were met, and how many. What it holds grows with their number alone.
#[derive(Debug, Default)]
pub struct Names(Mutex<HashMap<(u64, u64), u64>>);

impl Names {
    /// Notes one name of a file with `names` of them; whether this was the last.
    pub fn are_all_met(&self, identity: (u64, u64), names: u64) -> bool {
        if names <= 1 {
            return true;
        }
        let mut met = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = met.entry(identity).or_insert(0);
        *count += 1;
        let all = *count >= names;
        if all {
            met.remove(&identity);
        }
        all
    }

    /// How many files have names that were not met.
    pub fn left(self) -> u64 {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_with_its_last_name() {
        let names = Names::default();
        assert!(names.are_all_met((1, 1), 1));
        assert_eq!([(); 3].map(|()| names.are_all_met((1, 2), 3)), [false, false, true]);
        assert!(!names.are_all_met((1, 3), 2));
        assert_eq!(names.left(), 1);
    }
}
