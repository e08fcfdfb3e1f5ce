//! What may have changed in a tree, as paths below it.

use std::borrow::Borrow;
use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::ops::Bound::{Included, Unbounded};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

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

    /// Those of the directories in which something may have changed, and what; some more than once.
    pub fn hit<'a, T>(
        &'a self,
        known: &'a BTreeMap<Rc<Path>, T>,
    ) -> impl Iterator<Item = (&'a Rc<Path>, &'a T, Names)> {
        let contents = self.contents.iter().filter_map(|(path, names)| {
            let (path, about) = known.get_key_value(path.as_path())?;
            Some((path, about, names.clone()))
        });
        let below = self.names.iter().flat_map(|name| below(known, name));
        contents.chain(below.map(|(path, about)| (path, about, Names::All)))
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

/// A directory, if it is one of these, and those in it at any depth.
pub fn below<'a, K: AsRef<Path> + Borrow<Path> + Ord, T>(
    known: &'a BTreeMap<K, T>,
    top: &'a Path,
) -> impl Iterator<Item = (&'a K, &'a T)> {
    known
        .range::<Path, _>((Included(top), Unbounded))
        .take_while(move |(path, _)| path.as_ref().starts_with(top))
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
        let only = |names: &[&str]| Names::Only(names.iter().map(|name| name.as_bytes().to_vec()).collect());
        let known: BTreeMap<Rc<Path>, bool> =
            ["", "a", "a/x", "b", "b/x/y", "bb"].map(|path| (Path::new(path).into(), true)).into();
        let hit: Vec<_> =
            changes.hit(&known).map(|(path, _, names)| (path.to_str().unwrap(), names)).collect();
        let expected = [
            ("", only(&["b"])),
            ("a", only(&["x", "y", "y.aria2"])),
            ("b", Names::All),
            ("b/x/y", Names::All),
        ];
        assert_eq!(hit, expected);
    }
}
