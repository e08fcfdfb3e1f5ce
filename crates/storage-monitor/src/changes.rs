//! What may have changed in a tree, as paths below it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// Hints, gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Directories in which a name came or went.
    pub contents: BTreeSet<PathBuf>,
    /// Names that came or went and may have been directories: all that is below has changed with them.
    pub names: BTreeSet<PathBuf>,
}

impl Changes {
    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.names.is_empty()
    }

    /// Whether a directory of the tree may hold something else than before.
    pub fn touch(&self, directory: &Path) -> bool {
        self.contents.contains(directory) || directory.ancestors().any(|path| self.names.contains(path))
    }

    /// Those below a directory, relative to it.
    pub fn below(&self, top: &Path) -> Self {
        let relative = |paths: &BTreeSet<PathBuf>| {
            paths.iter().filter_map(|path| path.strip_prefix(top).ok()).map(Path::to_owned).collect()
        };
        Self { contents: relative(&self.contents), names: relative(&self.names) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_touches_what_is_below_and_content_only_itself() {
        let set = |paths: &[&str]| paths.iter().map(PathBuf::from).collect::<BTreeSet<_>>();
        let changes =
            Changes { contents: set(&["/s/a", "/o"]), names: set(&["/s/b"]) }.below(Path::new("/s"));
        assert_eq!(changes, Changes { contents: set(&["a"]), names: set(&["b"]) });
        let touched = ["", "a", "a/x", "b", "b/x/y", "bb"].map(|path| changes.touch(Path::new(path)));
        assert_eq!(touched, [false, true, false, true, true, false]);
    }
}
