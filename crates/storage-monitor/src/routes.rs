//! What leads where, both ways: there may be tens of thousands of directories, and a change concerns a few.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::rc::Rc;

use dirfd::Identity;

use crate::targets::Source;

/// Directories with what leads into them, and where each directory of the tree leads.
#[derive(Debug, Default)]
pub struct Routes {
    places: BTreeMap<Rc<Path>, Vec<Source>>,
    folders: BTreeMap<Rc<Path>, Folder>,
    /// Directories of the tree that came, went or became others since somebody asked.
    news: BTreeSet<Rc<Path>>,
}

/// A directory of the tree.
#[derive(Debug, Default)]
pub struct Folder {
    /// What it is, if it is there.
    pub identity: Option<Identity>,
    /// Where it leads.
    pub places: Vec<Rc<Path>>,
}

impl Routes {
    /// Directories with what leads into them.
    pub fn places(&self) -> &BTreeMap<Rc<Path>, Vec<Source>> {
        &self.places
    }

    /// Directories of the tree.
    pub fn folders(&self) -> &BTreeMap<Rc<Path>, Folder> {
        &self.folders
    }

    /// What leads into a directory.
    pub fn sources(&self, place: &Path) -> &[Source] {
        self.places.get(place).map_or(&[], Vec::as_slice)
    }

    /// Lets these lead into a directory, and nothing else.
    pub fn set(&mut self, place: &Rc<Path>, mut sources: Vec<Source>) {
        let (place, former) =
            self.places.remove_entry(place).unwrap_or_else(|| (Rc::clone(place), Vec::new()));
        for source in former {
            if !sources.iter().any(|other| other.directory == source.directory)
                && let Some(folder) = self.folders.get_mut(&source.directory)
            {
                folder.places.retain(|other| *other != place);
                if folder.places.is_empty() {
                    self.news.insert(source.directory);
                }
            }
        }
        for source in &mut sources {
            // The same path in one piece of memory.
            source.directory = self.known(&source.directory);
            let folder = self.folders.entry(Rc::clone(&source.directory)).or_default();
            if !folder.places.contains(&place) {
                folder.places.reserve_exact(1);
                folder.places.push(Rc::clone(&place));
            }
        }
        if !sources.is_empty() {
            sources.shrink_to_fit();
            self.places.insert(place, sources);
        }
    }

    /// Notes what a directory of the tree is.
    pub fn see(&mut self, directory: &Rc<Path>, identity: Option<Identity>) {
        if self.folders.get(directory).and_then(|folder| folder.identity) != identity {
            let directory = self.known(directory);
            self.folders.entry(Rc::clone(&directory)).or_default().identity = identity;
            self.news.insert(directory);
        }
    }

    /// Forgets directories of the tree that lead nowhere.
    pub fn tidy(&mut self) {
        for directory in &self.news {
            if self.folders.get(directory).is_some_and(|folder| folder.places.is_empty()) {
                self.folders.remove(directory);
            }
        }
    }

    /// Directories of the tree that came, went or became others since the last time, with what they are now.
    pub fn take_news(&mut self) -> impl Iterator<Item = (Rc<Path>, Option<Identity>)> {
        std::mem::take(&mut self.news).into_iter().map(|directory| {
            let identity = self.folders.get(&directory).and_then(|folder| folder.identity);
            (directory, identity)
        })
    }

    /// As if every directory of the tree had just come; `tell` hears of those that were news before.
    pub fn forget_news(&mut self, tell: impl FnMut(&Path)) {
        self.news.extend(self.folders.keys().cloned());
        self.news.iter().map(|directory| &**directory).for_each(tell);
    }

    fn known(&self, directory: &Rc<Path>) -> Rc<Path> {
        self.folders.get_key_value(directory).map_or(directory, |(known, _)| known).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(path: &str) -> Rc<Path> {
        Path::new(path).into()
    }

    #[test]
    fn a_directory_of_the_tree_is_known_as_long_as_it_leads_somewhere() {
        let source = |directory: &str| Source { directory: path(directory), depth: 0 };
        let mut routes = Routes::default();
        for (directory, inode) in [("a", 1), ("b", 2)] {
            routes.see(&path(directory), Some((0, inode)));
        }
        routes.set(&path("/one"), vec![source("a"), source("b")]);
        routes.set(&path("/two"), vec![source("a")]);
        routes.see(&path("c"), Some((0, 3)));
        routes.tidy();
        let places = |routes: &Routes| {
            let all = routes.folders().iter();
            all.map(|(from, folder)| (from.to_path_buf(), folder.places.clone())).collect::<Vec<_>>()
        };
        let both = ("a".into(), vec![path("/one"), path("/two")]);
        assert_eq!(places(&routes), [both, ("b".into(), vec![path("/one")])]);
        let news = |routes: &mut Routes| routes.take_news().collect::<Vec<_>>();
        let came = [(path("a"), Some((0, 1))), (path("b"), Some((0, 2))), (path("c"), None)];
        assert_eq!(news(&mut routes), came);
        routes.see(&path("a"), Some((0, 1)));
        routes.set(&path("/one"), vec![source("a")]);
        routes.tidy();
        assert_eq!(news(&mut routes), [(path("b"), None)]);
        routes.set(&path("/one"), Vec::new());
        routes.see(&path("a"), Some((0, 9)));
        routes.tidy();
        assert_eq!(places(&routes), [("a".into(), vec![path("/two")])]);
        assert_eq!(news(&mut routes), [(path("a"), Some((0, 9)))]);
        assert_eq!((routes.sources(&path("/one")), routes.places().len()), (&[][..], 1));
    }
}
