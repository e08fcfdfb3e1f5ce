//! The content of a tree, and its demands on a file system that is to hold a copy.

use serde::Serialize;

/// Counts of one tree; its root is not an entry.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Survey {
    /// Names.
    pub entries: u64,
    /// Names of regular files, hard-linked ones each.
    pub files: u64,
    /// Inodes that a copy with hard links takes.
    pub inodes: u64,
    /// Apparent bytes of the files, hard-linked ones once, holes counted.
    pub bytes: u64,
    /// Bytes on the disk: holes not counted, hard-linked files once, directories included. Of a source that
    /// compresses this is less than a copy elsewhere takes.
    pub bytes_allocated: u64,
    /// The same if every hard-linked name becomes a file of its own.
    pub bytes_allocated_unlinked: u64,
    /// Demands of a copy.
    pub needs: Needs,
    /// Equal for equal trees: names, types, modes, sizes and texts of links, in any order, owners and times left out.
    pub digest: [u8; 32],
}

/// Features that a tree uses, each as the number of entries that use it, unless noted otherwise.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Needs {
    /// Symbolic links.
    pub symbolic_links: u64,
    /// Names beyond the first of hard-linked files.
    pub hard_links: u64,
    /// Entries with extended attributes other than access control lists.
    pub attributes: u64,
    /// Entries with POSIX access control lists.
    pub access_lists: u64,
    /// Regular files with a permission to execute.
    pub executables: u64,
    /// FIFOs, sockets and devices.
    pub special_files: u64,
    /// Entries of another owner or group than this process has.
    pub foreign_owners: u64,
    /// Names that differ from a neighbour only by the case of their letters.
    pub case_collisions: u64,
    /// One such name, for messages.
    pub case_collision: Option<String>,
    /// Names that are not UTF-8.
    pub odd_names: u64,
    /// Bytes of the longest name.
    pub longest_name: usize,
}

impl Survey {
    /// An empty tree.
    pub const NOTHING: Self = Self {
        entries: 0,
        files: 0,
        inodes: 0,
        bytes: 0,
        bytes_allocated: 0,
        bytes_allocated_unlinked: 0,
        needs: Needs {
            symbolic_links: 0,
            hard_links: 0,
            attributes: 0,
            access_lists: 0,
            executables: 0,
            special_files: 0,
            foreign_owners: 0,
            case_collisions: 0,
            case_collision: None,
            odd_names: 0,
            longest_name: 0,
        },
        digest: [0; 32],
    };

    /// The same tree with what a copy takes that shares the blocks of its files: 4 KiB for each inode. An inode has 512
    /// bytes on xfs and a part of a node on btrfs; its name, the counts of shared blocks and the directories take the
    /// rest.
    #[must_use]
    pub fn with_shared_blocks(self) -> Self {
        const EACH: u64 = 4096;
        Self {
            bytes_allocated: self.inodes.saturating_mul(EACH),
            bytes_allocated_unlinked: self.entries.saturating_mul(EACH),
            ..self
        }
    }
}
