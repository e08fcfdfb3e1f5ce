//! Changes that correct an entry.

use std::fmt;

use crate::acl::{Acl, rwx};

/// A change to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// Sets the group.
    Group(u32),
    /// Changes the permission bits, from and to.
    Mode(u32, u32),
    /// Gives a user these permissions (a digit of a mode), with this access ACL.
    Access(u32, u8, Acl),
    /// Gives a user all permissions for future entries, with this default ACL.
    Default(u32, Acl),
    /// Removes the default ACL.
    NoDefault,
}

/// The kinds of change, for counting; the names are an interface.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum ChangeKind {
    /// [`Change::Group`].
    Group,
    /// [`Change::Mode`].
    Mode,
    /// [`Change::Access`].
    AccessAcl,
    /// [`Change::Default`].
    DefaultAcl,
    /// [`Change::NoDefault`].
    NoDefaultAcl,
}

impl ChangeKind {
    /// All kinds, in the order of the summary.
    pub const ALL: [Self; 5] =
        [Self::Group, Self::Mode, Self::AccessAcl, Self::DefaultAcl, Self::NoDefaultAcl];

    /// Name in the summary and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Group => "group",
            Self::Mode => "mode",
            Self::AccessAcl => "access_acl",
            Self::DefaultAcl => "default_acl",
            Self::NoDefaultAcl => "default_acl_removed",
        }
    }
}

impl Change {
    /// True if the change needs a file system with ACLs.
    #[must_use]
    pub const fn is_acl(&self) -> bool {
        !matches!(self, Self::Group(_) | Self::Mode(..))
    }

    /// Kind of the change.
    #[must_use]
    pub const fn kind(&self) -> ChangeKind {
        match self {
            Self::Group(_) => ChangeKind::Group,
            Self::Mode(..) => ChangeKind::Mode,
            Self::Access(..) => ChangeKind::AccessAcl,
            Self::Default(..) => ChangeKind::DefaultAcl,
            Self::NoDefault => ChangeKind::NoDefaultAcl,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Group(gid) => write!(formatter, "group {gid}"),
            Self::Mode(from, to) => write!(formatter, "mode {from:04o} to {to:04o}"),
            Self::Access(uid, digit, _) => write!(formatter, "acl user {uid} {}", rwx(*digit)),
            Self::Default(uid, _) => write!(formatter, "default acl user {uid} rwx"),
            Self::NoDefault => formatter.write_str("no default acl"),
        }
    }
}
