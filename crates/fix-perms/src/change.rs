//! One thing that is wrong with an entry, said as what makes it right.

use std::fmt;

use crate::acl::{Acl, letters};

/// A change to one entry.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Change {
    /// It belongs to this group from now on.
    Group(u32),
    /// Its permission bits, from and to.
    Mode(u32, u32),
    /// This user may do this with it (a digit of a mode), through this list.
    Access(u32, u8, Acl),
    /// This user may do everything with what is made in it, through this list.
    Default(u32, Acl),
    /// What is made in it gets no list.
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
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Group, Self::Mode, Self::AccessAcl, Self::DefaultAcl, Self::NoDefaultAcl];

    /// The name in the summary and in JSON.
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
    /// Whether it takes a file system that keeps ACLs.
    #[must_use]
    pub const fn is_acl(&self) -> bool {
        !matches!(self, Self::Group(_) | Self::Mode(..))
    }

    /// Which kind it is.
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
            Self::Access(uid, digit, _) => write!(formatter, "acl user {uid} {}", letters(*digit)),
            Self::Default(uid, _) => write!(formatter, "default acl user {uid} rwx"),
            Self::NoDefault => formatter.write_str("no default acl"),
        }
    }
}
