//! Interface between the walk and the rules of a tree; see `opt_rules` and `workspace_rules`.

use std::io;

use crate::change::Change;
use crate::entry::Entry;
use crate::workspace_rules::ReadAcl;
use crate::{opt_rules, workspace_rules};

/// Rules of one tree. A zone is a part of the tree that is treated alike.
pub trait Rules: Sync {
    /// Zones of the tree.
    type Zone: Copy + Send + Sync;
    /// True if a file with a hard link outside the tree is skipped: it may belong to a user who does not know of the link.
    const NEEDS_ALL_LINKS: bool;
    /// True if the rules use ACLs.
    const USES_ACLS: bool;
    /// Zone of the tree's root directory.
    fn root(&self) -> Self::Zone;
    /// Zone of the entry `name` in a directory; `None` if it is skipped with its content.
    fn child(&self, zone: Self::Zone, name: &[u8]) -> Option<Self::Zone>;
    /// True if the content of a directory is checked.
    fn descends(&self, zone: Self::Zone, entry: &Entry) -> bool;
    /// Changes that correct an entry; fails only if an ACL cannot be read.
    fn required_changes(
        &self,
        zone: Self::Zone,
        name: &[u8],
        entry: &Entry,
        read_acl: ReadAcl<'_>,
    ) -> io::Result<Vec<Change>>;
}

/// Rules of `/opt`.
pub struct OptRules {
    /// The group that the tree is shared with.
    pub gid: u32,
}

impl Rules for OptRules {
    type Zone = opt_rules::Zone;
    // A hard link to a file of a lower layer is copied up separately, while the link count stays. Only members of the group
    // could link a file into the tree, and they may become root anyway.
    const NEEDS_ALL_LINKS: bool = false;
    const USES_ACLS: bool = false;

    fn root(&self) -> Self::Zone {
        opt_rules::Zone::Top
    }

    fn child(&self, zone: Self::Zone, name: &[u8]) -> Option<Self::Zone> {
        zone.child(name)
    }

    fn descends(&self, zone: Self::Zone, entry: &Entry) -> bool {
        opt_rules::descends(zone, entry)
    }

    fn required_changes(
        &self,
        zone: Self::Zone,
        _: &[u8],
        entry: &Entry,
        _: ReadAcl<'_>,
    ) -> io::Result<Vec<Change>> {
        Ok(opt_rules::required_changes(zone, self.gid, entry))
    }
}

/// Rules of the workspace.
pub struct WorkspaceRules {
    /// The volume's owner.
    pub uid: u32,
}

impl Rules for WorkspaceRules {
    type Zone = workspace_rules::Zone;
    const NEEDS_ALL_LINKS: bool = true;
    const USES_ACLS: bool = true;

    fn root(&self) -> Self::Zone {
        workspace_rules::Zone::Top
    }

    fn child(&self, zone: Self::Zone, name: &[u8]) -> Option<Self::Zone> {
        Some(zone.child(name))
    }

    fn descends(&self, zone: Self::Zone, entry: &Entry) -> bool {
        workspace_rules::descends(zone, self.uid, entry)
    }

    fn required_changes(
        &self,
        zone: Self::Zone,
        name: &[u8],
        entry: &Entry,
        read_acl: ReadAcl<'_>,
    ) -> io::Result<Vec<Change>> {
        workspace_rules::required_changes(zone, self.uid, name, entry, read_acl)
    }
}
