//! Numbers and sizes of a tree's entries.

/// Counts and bytes of a tree to build.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shape {
    /// Names of regular files, the further names of hard-linked ones included.
    pub files: usize,
    /// Number of `files` that are further names of another one's inode.
    pub hard_linked: usize,
    /// Symbolic links: relative, absolute and dangling ones.
    pub links: usize,
    /// Directories, without the root.
    pub directories: usize,
    /// Bytes of all regular files, each inode counted once.
    pub bytes: u64,
}

impl Shape {
    /// A micromamba root with a machine learning environment: 63,000 files, 3,900 links, 5.45 GB.
    ///
    /// Half of the files have less than 16 kB, the largest has some 565 MB.
    #[must_use]
    pub const fn environment() -> Self {
        Self { files: 63_000, hard_linked: 9_300, links: 3_900, directories: 6_400, bytes: 5_450_000_000 }
    }

    /// Shape with `entries` entries, root excluded: nearly all of them small files of 100 bytes on average.
    #[must_use]
    pub const fn many(entries: usize) -> Self {
        let directories = entries / 50;
        let links = entries / 100;
        let files = entries - directories - links;
        Self { files, hard_linked: files / 50, links, directories, bytes: files as u64 * 100 }
    }

    /// The same in small, or in large: every count and the bytes are multiplied by `part / whole`.
    #[must_use]
    pub const fn scaled(self, part: usize, whole: usize) -> Self {
        Self {
            files: self.files * part / whole,
            hard_linked: self.hard_linked * part / whole,
            links: self.links * part / whole,
            directories: self.directories * part / whole,
            bytes: self.bytes / whole as u64 * part as u64,
        }
    }

    /// Files, links and directories together, without the root.
    #[must_use]
    pub const fn entries(&self) -> usize {
        self.files + self.links + self.directories
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hundredth_has_a_hundredth_of_everything() {
        assert_eq!(
            Shape::environment().scaled(1, 100),
            Shape { files: 630, hard_linked: 93, links: 39, directories: 64, bytes: 54_500_000 }
        );
    }

    #[test]
    fn a_million_entries_are_a_million() {
        assert_eq!(Shape::many(1_000_000).entries(), 1_000_000);
    }
}
