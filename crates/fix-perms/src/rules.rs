//! What the walk asks the rules of a tree; see `container` and `workspace` for the answers.

use std::io;

use crate::change::Change;
use crate::entry::Entry;
use crate::workspace::Read;
use crate::{container, workspace};

/// Decisions about one tree. A place says how the part of the tree is treated in which an entry lies.
pub trait Rules: Sync {
    /// The places that the rules tell apart.
    type Place: Copy + Send + Sync;
    /// Whether a file with a name outside the tree is left alone: its owner may be somebody who never was asked.
    const WANTS_ALL_NAMES: bool;
    /// Whether ACLs matter.
    const WANTS_ACLS: bool;
    /// The tree's own directory.
    fn top(&self) -> Self::Place;
    /// The place of `name` in a directory; nothing where it is left alone with all that is in it.
    fn below(&self, place: Self::Place, name: &[u8]) -> Option<Self::Place>;
    /// Whether what lies in a directory is looked at.
    fn enters(&self, place: Self::Place, entry: &Entry) -> bool;
    /// What makes an entry right; fails only where an ACL cannot be read.
    fn judge(
        &self,
        place: Self::Place,
        name: &[u8],
        entry: &Entry,
        read: Read<'_>,
    ) -> io::Result<Vec<Change>>;
}

/// The rules of `/opt`.
pub struct Container {
    /// The group that the tree is shared with.
    pub gid: u32,
}

impl Rules for Container {
    type Place = container::Place;
    // An overlay gives a file of a lower layer a copy of its own with each name that is changed, and the count of names
    // stays. Only members of the group could link something into the tree, and they may become root.
    const WANTS_ALL_NAMES: bool = false;
    const WANTS_ACLS: bool = false;

    fn top(&self) -> Self::Place {
        container::Place::Top
    }

    fn below(&self, place: Self::Place, name: &[u8]) -> Option<Self::Place> {
        place.below(name)
    }

    fn enters(&self, place: Self::Place, entry: &Entry) -> bool {
        container::enters(place, entry)
    }

    fn judge(&self, place: Self::Place, _: &[u8], entry: &Entry, _: Read<'_>) -> io::Result<Vec<Change>> {
        Ok(container::judge(place, self.gid, entry))
    }
}

/// The rules of the workspace.
pub struct Workspace {
    /// The volume's owner.
    pub uid: u32,
}

impl Rules for Workspace {
    type Place = workspace::Place;
    const WANTS_ALL_NAMES: bool = true;
    const WANTS_ACLS: bool = true;

    fn top(&self) -> Self::Place {
        workspace::Place::Top
    }

    fn below(&self, place: Self::Place, name: &[u8]) -> Option<Self::Place> {
        Some(place.below(name))
    }

    fn enters(&self, place: Self::Place, entry: &Entry) -> bool {
        workspace::enters(place, self.uid, entry)
    }

    fn judge(
        &self,
        place: Self::Place,
        name: &[u8],
        entry: &Entry,
        read: Read<'_>,
    ) -> io::Result<Vec<Change>> {
        workspace::judge(place, self.uid, name, entry, read)
    }
}
