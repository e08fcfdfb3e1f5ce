//! Interface between the walk and the rules of a tree; see `opt_rules` and `workspace_rules`.

use std::io;

use crate::acl::{Acl, AclKind};
use crate::change::Change;
use crate::entry::Entry;

/// Reads an ACL of the entry, if it has one.
pub type ReadAcl<'a> = &'a dyn Fn(AclKind) -> io::Result<Option<Acl>>;

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
    /// True for an entry that is left alone because only root has access: on purpose, or by the umask of its creator.
    fn is_private(&self, zone: Self::Zone, entry: &Entry) -> bool;
    /// Changes that correct an entry; fails only if an ACL cannot be read.
    fn required_changes(
        &self,
        zone: Self::Zone,
        name: &[u8],
        entry: &Entry,
        read_acl: ReadAcl<'_>,
    ) -> io::Result<Vec<Change>>;
}
