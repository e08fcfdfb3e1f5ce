//! Index from directories of the tree to their targets and back: there may be tens of thousands, and a change concerns
//! a few.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::ops::Bound::{Included, Unbounded};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dirfd::Identity;

use crate::directory_scan::Names;
use crate::mapping::Source;

/// Targets with their sources, and where each directory of the tree leads.
#[derive(Debug, Default)]
pub struct Routes {
    targets: BTreeMap<Arc<Path>, Vec<Source>>,
    directories: BTreeMap<Arc<Path>, StorageDirectory>,
    /// True if a directory of the tree came, went or was replaced since [`Routes::take_changed`].
    changed: bool,
}

/// A directory of the tree.
#[derive(Debug, Default)]
pub struct StorageDirectory {
    /// `None` if it does not exist.
    pub identity: Option<Identity>,
    /// Directories that it leads to.
    pub targets: Vec<Arc<Path>>,
}

impl Routes {
    /// Targets with their sources.
    pub fn targets(&self) -> &BTreeMap<Arc<Path>, Vec<Source>> {
        &self.targets
    }

    /// Directories of the tree.
    pub fn directories(&self) -> &BTreeMap<Arc<Path>, StorageDirectory> {
        &self.directories
    }

    /// Sources of a target.
    pub fn sources(&self, target: &Path) -> &[Source] {
        self.targets.get(target).map_or(&[], Vec::as_slice)
    }

    /// Sets the sources of a target.
    pub fn set(&mut self, target: &Arc<Path>, mut sources: Vec<Source>) {
        let (target, former) =
            self.targets.remove_entry(target).unwrap_or_else(|| (Arc::clone(target), Vec::new()));
        for source in former {
            if !sources.iter().any(|other| other.directory == source.directory)
                && let Some(directory) = self.directories.get_mut(&source.directory)
            {
                directory.targets.retain(|other| *other != target);
                self.changed |= directory.targets.is_empty();
            }
        }
        for source in &mut sources {
            // The same path in one piece of memory.
            if let Some((known, _)) = self.directories.get_key_value(&source.directory) {
                source.directory = Arc::clone(known);
            }
            let directory = self.directories.entry(Arc::clone(&source.directory)).or_default();
            if !directory.targets.contains(&target) {
                self.changed |= directory.targets.is_empty();
                directory.targets.reserve_exact(1);
                directory.targets.push(Arc::clone(&target));
            }
        }
        if !sources.is_empty() {
            sources.shrink_to_fit();
            self.targets.insert(target, sources);
        }
    }

    /// Records the identity of a directory of the tree.
    pub fn set_identity(&mut self, path: &Arc<Path>, identity: Option<Identity>) {
        if self.directories.get(path).and_then(|directory| directory.identity) != identity {
            self.directories.entry(Arc::clone(path)).or_default().identity = identity;
            self.changed = true;
        }
    }

    /// Removes directories of the tree that have no target.
    pub fn remove_unrouted(&mut self) {
        self.directories.retain(|_, directory| !directory.targets.is_empty());
    }

    /// Returns whether a directory of the tree came, went or became another since the last call.
    pub fn take_changed(&mut self) -> bool {
        std::mem::take(&mut self.changed)
    }
}

/// Path of a directory of a tree; joining an empty path would add a slash.
pub fn in_tree(root: &Path, directory: &Path) -> PathBuf {
    if directory.as_os_str().is_empty() { root.to_owned() } else { root.join(directory) }
}

/// Entries of a map that are a directory or lie in it at any depth.
pub fn below<'a, K: AsRef<Path> + Borrow<Path> + Ord, T>(
    map: &'a BTreeMap<K, T>,
    directory: &'a Path,
) -> impl Iterator<Item = (&'a K, &'a T)> {
    map.range::<Path, _>((Included(directory), Unbounded))
        .take_while(move |(path, _)| path.as_ref().starts_with(directory))
}

/// Entries of a map that lie directly in a directory and have one of the names.
pub fn children_of<'a, T>(
    map: &'a BTreeMap<Arc<Path>, T>,
    directory: &'a Path,
    names: &'a Names,
) -> Box<dyn Iterator<Item = (&'a Arc<Path>, &'a T)> + 'a> {
    match names {
        Names::All => {
            Box::new(below(map, directory).filter(move |(path, _)| path.parent() == Some(directory)))
        }
        Names::Only(names) => {
            let path = |name: &Vec<u8>| directory.join(OsStr::from_bytes(name));
            Box::new(names.iter().filter_map(move |name| map.get_key_value(path(name).as_path())))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Arc<Path> {
        Path::new(path).into()
    }

    fn source_of(directory: &str) -> Source {
        Source { directory: path(directory), depth: 0 }
    }

    #[test]
    fn a_directory_of_the_tree_is_known_as_long_as_it_leads_somewhere() {
        let mut routes = Routes::default();
        for (directory, inode) in [("a", 1), ("b", 2)] {
            routes.set_identity(&path(directory), Some((0, inode)));
        }
        routes.set(&path("/one"), vec![source_of("a"), source_of("b")]);
        routes.set(&path("/two"), vec![source_of("a")]);
        routes.set_identity(&path("c"), Some((0, 3)));
        routes.remove_unrouted();
        let targets = |routes: &Routes| {
            let all = routes.directories().iter();
            all.map(|(from, directory)| (from.to_path_buf(), directory.targets.clone())).collect::<Vec<_>>()
        };
        let both = ("a".into(), vec![path("/one"), path("/two")]);
        assert_eq!(targets(&routes), [both, ("b".into(), vec![path("/one")])]);
        assert_eq!([routes.take_changed(), routes.take_changed()], [true, false]);
        routes.set_identity(&path("a"), Some((0, 1)));
        routes.set(&path("/two"), Vec::new());
        assert!(!routes.take_changed(), "the same directories lead somewhere");
        for change in [
            |routes: &mut Routes| routes.set(&path("/one"), vec![source_of("a")]),
            |routes: &mut Routes| routes.set_identity(&path("a"), Some((0, 9))),
            |routes: &mut Routes| routes.set(&path("/one"), vec![source_of("b")]),
        ] {
            change(&mut routes);
            assert!(routes.take_changed());
        }
        routes.remove_unrouted();
        assert_eq!(targets(&routes), [("b".into(), vec![path("/one")])]);
        assert_eq!((routes.sources(&path("/two")), routes.targets().len()), (&[][..], 1));
    }
}
