//! Files with several hard links: they are changed only if the walk has seen all of them.
//!
//! A user who may write to a directory can hard-link another user's file there (unless `protected_hardlinks` in proc(5)
//! forbids it). Access that is granted through that link is access to the other user's file.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use dirfd::Identity;

/// Number of links seen of each wrong file, by device and inode. Its size depends only on the number of such files.
#[derive(Debug, Default)]
pub struct HardLinks(Mutex<HashMap<Identity, u64>>);

impl HardLinks {
    /// Counts one link of a file that has `links` of them; true if it was the last.
    pub fn all_seen(&self, identity: Identity, links: u64) -> bool {
        if links <= 1 {
            return true;
        }
        let mut seen = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let count = seen.entry(identity).or_insert(0);
        *count += 1;
        let all = *count >= links;
        if all {
            seen.remove(&identity);
        }
        all
    }

    /// Number of files with links that were not seen.
    pub fn incomplete(self) -> u64 {
        self.0.into_inner().unwrap_or_else(PoisonError::into_inner).len() as u64
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_complete_with_its_last_link() {
        let links = HardLinks::default();
        assert!(links.all_seen((1, 1), 1));
        assert_eq!([(); 3].map(|()| links.all_seen((1, 2), 3)), [false, false, true]);
        assert!(!links.all_seen((1, 3), 2));
        assert_eq!(links.incomplete(), 1);
    }
}
