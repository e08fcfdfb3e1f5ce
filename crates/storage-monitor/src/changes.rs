//! What may have changed in a tree, as paths below it.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use crate::names::CONTROL;

/// Which names of a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Names {
    /// Every name.
    All,
    /// These.
    Only(BTreeSet<Vec<u8>>),
}

impl Names {
    /// This one; the control file of a download says something about the download.
    pub fn one(name: &[u8]) -> Self {
        let download = name.strip_suffix(CONTROL).filter(|download| !download.is_empty());
        Self::Only(download.into_iter().chain([name]).map(<[u8]>::to_vec).collect())
    }

    /// Both.
    pub fn join(&mut self, other: Self) {
        match (&mut *self, other) {
            (Self::Only(names), Self::Only(more)) => names.extend(more),
            _ => *self = Self::All,
        }
    }
}

/// Hints, gathered.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Directories, with the names in them that came or went.
    pub contents: BTreeMap<PathBuf, Names>,
    /// Names that came or went and may have been directories: all that is below has changed with them.
    pub names: BTreeSet<PathBuf>,
}

impl Changes {
    /// Something came to a path or went from it.
    pub fn add(&mut self, path: PathBuf, may_be_directory: bool) {
        if let (Some(parent), Some(name)) = (path.parent(), path.file_name()) {
            let names = Names::one(OsStr::as_bytes(name));
            match self.contents.get_mut(parent) {
                Some(known) => known.join(names),
                None => _ = self.contents.insert(parent.to_owned(), names),
            }
        }
        if may_be_directory {
            self.names.insert(path);
        }
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.names.is_empty()
    }

    /// What may have changed in a directory of the tree, if anything.
    pub fn within(&self, directory: &Path) -> Option<Names> {
        if directory.ancestors().any(|path| self.names.contains(path)) {
            return Some(Names::All);
        }
        self.contents.get(directory).cloned()
    }

    /// Those below a directory, relative to it.
    pub fn below(&self, top: &Path) -> Self {
        let relative = |path: &PathBuf| path.strip_prefix(top).ok().map(Path::to_owned);
        let contents = self.contents.iter();
        Self {
            contents: contents.filter_map(|(path, names)| Some((relative(path)?, names.clone()))).collect(),
            names: self.names.iter().filter_map(relative).collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_changes_all_that_is_below_and_itself_where_it_is() {
        let mut changes = Changes::default();
        changes.add("/s/a/x".into(), false);
        changes.add("/s/a/y.aria2".into(), false);
        changes.add("/s/b".into(), true);
        changes.add("/o/z".into(), false);
        let changes = changes.below(Path::new("/s"));
        let only =
            |names: &[&str]| Some(Names::Only(names.iter().map(|name| name.as_bytes().to_vec()).collect()));
        let within = ["", "a", "a/x", "b", "b/x/y", "bb"].map(|path| changes.within(Path::new(path)));
        let expected =
            [only(&["b"]), only(&["x", "y", "y.aria2"]), None, Some(Names::All), Some(Names::All), None];
        assert_eq!(within, expected);
    }
}
