//! Properties in which two entries can differ.

/// One property of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Aspect {
    /// The name exists in only one of the trees.
    Presence,
    /// File, directory, link, FIFO, socket, device.
    Kind,
    /// Bytes of a regular file.
    Size,
    /// Content of a regular file.
    Content,
    /// Target of a symbolic link, byte for byte.
    Target,
    /// Major and minor number of a device.
    Device,
    /// Permissions, set-uid, set-gid and sticky bit; a symbolic link has none.
    Mode,
    /// User and group.
    Owner,
    /// Modification time in nanoseconds; of directories and links too.
    Time,
    /// Extended attributes, access control lists and capabilities included.
    Attributes,
    /// Names that share an inode.
    HardLinks,
}

impl Aspect {
    /// Word in a line of a difference.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Self::Presence => "presence",
            Self::Kind => "kind",
            Self::Size => "size",
            Self::Content => "content",
            Self::Target => "target",
            Self::Device => "device",
            Self::Mode => "mode",
            Self::Owner => "owner",
            Self::Time => "time",
            Self::Attributes => "attributes",
            Self::HardLinks => "hard links",
        }
    }
}
