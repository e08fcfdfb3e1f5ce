//! ACLs are set many at a time, because libacl's door looks the user up in `/etc/passwd` with each call: nine system calls
//! beside the one that counts.

use std::io;
use std::mem;
use std::path::PathBuf;

use crate::apply::{self, Held};
use crate::change::Change;

/// How many descriptors are held open for one call.
pub const SIZE: usize = 64;

/// A change that waits, and what it is for.
#[derive(Debug)]
pub struct Waiting {
    /// What is changed.
    pub held: Held,
    /// Its path, as it was met.
    pub path: PathBuf,
    /// The ACL.
    pub change: Change,
}

/// Changes of ACLs that wait for each other.
#[derive(Debug, Default)]
pub struct Batch(Vec<Waiting>);

impl Batch {
    /// Adds a change; whether it is time to make them.
    pub fn add(&mut self, waiting: Waiting) -> bool {
        self.0.push(waiting);
        self.0.len() >= SIZE
    }

    /// Makes the changes, and says of each what became of it.
    pub fn make(&mut self, mut tell: impl FnMut(&Waiting, io::Result<()>)) {
        let mut rest = mem::take(&mut self.0);
        while let Some(first) = rest.first() {
            let change = first.change.clone();
            let (same, others) = rest.into_iter().partition::<Vec<_>, _>(|waiting| waiting.change == change);
            rest = others;
            if apply::set_acls(same.iter().map(|waiting| &waiting.held), &change).is_ok() {
                same.iter().for_each(|waiting| tell(waiting, Ok(())));
            } else {
                // Which of them it was is not said, and those behind it were not tried.
                for waiting in &same {
                    tell(waiting, apply::set_acls(std::iter::once(&waiting.held), &change));
                }
            }
        }
    }
}
