//! Whether an entry of the image's tree is this container's work, where the copy is one from another time.
//!
//! Nobody knows then how its entries were. A changed inode says little: `fix-perms` gives what the image brought another
//! group and mode, and to carry that over would bring back what the user removed from the copy. So only two things are
//! surely work: a file that was written since the container began, and a name that the copy never had, if the image is of
//! the copy's generation. A file that came with an old time in the place of one of the image's looks like the image's,
//! and is not carried over: the user's copy comes first.

use std::cell::OnceCell;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::Result;

use crate::manifest::Manifest;
use crate::marker::Marker;
use crate::memory::{self, Leftover, Memory};
use crate::tree::Tree;
use crate::walk::Entry;

/// Knows which names the image brought.
#[derive(Debug)]
pub struct Origin<'a> {
    memory: &'a Path,
    tree: &'a Tree,
    /// The names of the copy when it was whole, if the image brings these; read when it is asked for.
    brought: OnceCell<Option<Manifest>>,
}

impl<'a> Origin<'a> {
    /// With what the container remembers in `memory`.
    pub fn new(tree: &'a Tree, memory: &'a Path) -> Self {
        Self { memory, tree, brought: OnceCell::new() }
    }

    /// Whether the entry, whose inode changed, is surely to be carried over to `copy`. A directory is a name; what came
    /// into it is asked for by itself.
    pub fn is_work(&self, entry: &Entry<'_>, copy: &OwnedFd, leftover: &Leftover) -> Result<bool> {
        if !leftover.is_of_another_time() || leftover.written.contains_key(&memory::key(entry.name)) {
            return Ok(true);
        }
        if !entry.is_directory() && entry.modified() >= leftover.source_since {
            return Ok(true);
        }
        if self.brought.get().is_none() {
            let _ = self.brought.set(self.names(copy)?);
        }
        Ok(self.brought.get().and_then(Option::as_ref).is_some_and(|names| !names.has(entry.name)))
    }

    fn names(&self, copy: &OwnedFd) -> Result<Option<Manifest>> {
        let copys = Marker::read(copy)?.map(|marker| marker.generation);
        if copys.is_none() || copys != Memory::load(self.memory, &self.tree.name).generation {
            return Ok(None);
        }
        Manifest::read(copy)
    }
}
