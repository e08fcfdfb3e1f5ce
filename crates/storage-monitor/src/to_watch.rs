//! Which directories have to be watched to hear of every change.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use dirfd::Identity;

use crate::engine::in_tree;
use crate::monitor::Monitor;
use crate::watch;

/// What was asked for the last time.
#[derive(Debug, Default)]
pub struct Watched {
    /// The storage, as the paths of its directories begin.
    storage: PathBuf,
    /// Directories beside those that lead somewhere.
    beside: BTreeSet<PathBuf>,
}

impl Monitor {
    /// What has to be watched to hear of every change, by real path: what is new or another since the last time, and
    /// nothing for what need not be watched any more.
    pub fn take_watches(&mut self) -> BTreeMap<PathBuf, Option<Identity>> {
        let storage = self.storage();
        let places = self.places().clone();
        let mut news = BTreeMap::new();
        if self.watched.storage != storage {
            let former = std::mem::replace(&mut self.watched.storage, storage.clone());
            if !former.as_os_str().is_empty() {
                self.mapped.routes.forget_news(|folder| _ = news.insert(in_tree(&former, folder), None));
            }
        }
        for (top, engine) in [(&storage, &mut self.mapped), (&places.image, &mut self.shipped)] {
            news.extend(engine.routes.take_news().map(|(folder, is)| (in_tree(top, &folder), is)));
        }
        let beside = self.watched_beside(&storage);
        for path in std::mem::replace(&mut self.watched.beside, beside.keys().cloned().collect()) {
            if !beside.contains_key(&path) {
                // It may lead somewhere all the same, which is no news to the routes.
                let is = self.leading(&storage, &path);
                news.entry(path).or_insert(is);
            }
        }
        news.extend(beside.into_iter().map(|(path, is)| (path, Some(is))));
        news
    }

    /// What a directory of a tree is, if it leads somewhere.
    fn leading(&self, storage: &Path, path: &Path) -> Option<Identity> {
        let trees = [(storage, &self.mapped), (&self.places().image, &self.shipped)];
        trees.iter().find_map(|(top, engine)| {
            engine.routes.folders().get(path.strip_prefix(top).ok()?).and_then(|folder| folder.identity)
        })
    }

    /// What has to be watched beside the directories that lead somewhere.
    fn watched_beside(&self, storage: &Path) -> BTreeMap<PathBuf, Identity> {
        let keys = self.mapping().into_iter().flat_map(|mapping| mapping.0.keys());
        // A key whose directory does not exist yet will appear in one of these.
        let above = keys
            .flat_map(|key| storage.join(key).ancestors().skip(1).map(Path::to_owned).collect::<Vec<_>>())
            .filter(|path| path.starts_with(storage));
        // A storage that is moved away comes back in the directory that holds it.
        let holds = self.places().storage.parent().and_then(|parent| fs::canonicalize(parent).ok());
        let all = above
            .chain(holds)
            .chain(self.targets.signs.iter().cloned())
            .chain(self.places().mappings.parent().map(Path::to_owned))
            .chain([storage.to_owned(), self.places().image.clone()]);
        all.filter_map(|path| watch::identity(&path).map(|is| (path, is))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::changes::Changes;

    #[test]
    fn only_what_came_or_went_is_told() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        for directory in ["storage/a/one", "storage/a/two", "image", "app", "etc", "volume/a/one"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        let mut monitor = Monitor::of(&top);
        monitor.set_mapping([("a".into(), [top.join("app")].into())].into());
        monitor.all(None);
        let beside = ["", "etc", "image", "storage"];
        let news = |monitor: &mut Monitor| {
            let mut news = monitor.take_watches();
            let here = |path: &PathBuf| path.strip_prefix(&top).unwrap().to_str().unwrap().to_owned();
            news.retain(|path, is| !(is.is_some() && beside.contains(&here(path).as_str())));
            news.iter().map(|(path, is)| (here(path), is.is_some())).collect::<Vec<_>>()
        };
        let told =
            |all: &[(&str, bool)]| all.iter().map(|(path, is)| ((*path).to_owned(), *is)).collect::<Vec<_>>();
        assert_eq!(
            news(&mut monitor),
            told(&[("storage/a", true), ("storage/a/one", true), ("storage/a/two", true)])
        );
        let change = |monitor: &mut Monitor, path: &str| {
            let mut changes = Changes::default();
            changes.add(top.join(path), true);
            monitor.some(&changes);
        };
        fs::create_dir(top.join("storage/a/three")).unwrap();
        change(&mut monitor, "storage/a/three");
        assert_eq!(news(&mut monitor), told(&[("storage/a/three", true)]));
        fs::remove_dir(top.join("storage/a/one")).unwrap();
        change(&mut monitor, "storage/a/one");
        assert_eq!(news(&mut monitor), told(&[("storage/a/one", false)]));
        monitor.all(None);
        assert_eq!(news(&mut monitor), []);
        // The storage is elsewhere now.
        fs::rename(top.join("storage"), top.join("former")).unwrap();
        std::os::unix::fs::symlink(top.join("volume"), top.join("storage")).unwrap();
        monitor.all(None);
        let (came, gone): (Vec<_>, Vec<_>) = news(&mut monitor).into_iter().partition(|(_, is)| *is);
        assert_eq!(came, told(&["volume", "volume/a", "volume/a/one"].map(|path| (path, true))));
        let former =
            told(&["storage", "storage/a", "storage/a/three", "storage/a/two"].map(|path| (path, false)));
        assert!(former.iter().all(|path| gone.contains(path)), "{gone:?}");
    }

    #[test]
    fn a_storage_that_is_moved_away_and_back_is_noticed_by_events() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        for directory in ["storage/a", "app"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        fs::write(top.join("storage/a/x"), "").unwrap();
        let mut monitor = Monitor::of(&top);
        monitor.set_mapping([("a".into(), [top.join("app")].into())].into());
        monitor.all(None);
        assert_eq!(monitor.take_watches().get(&top), Some(&watch::identity(&top)));
        let moved = |monitor: &mut Monitor, from: &str, to: &str| {
            fs::rename(top.join(from), top.join(to)).unwrap();
            let mut changes = Changes::default();
            changes.add(top.join(from), true);
            changes.add(top.join(to), true);
            monitor.some(&changes);
            monitor.whole_problems().any(|problem| problem.ends_with("it is missing"))
        };
        assert!(moved(&mut monitor, "storage", "away"));
        fs::write(top.join("away/a/y"), "").unwrap();
        assert!(!moved(&mut monitor, "away", "storage"));
        assert!(top.join("app/y").is_symlink());
        let news = monitor.take_watches();
        assert_eq!(news.get(&top.join("storage")), Some(&watch::identity(&top.join("storage"))));
    }

    #[test]
    fn what_leads_somewhere_stays_watched_when_the_keys_below_it_go() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        for directory in ["storage/a", "storage/c", "app"] {
            fs::create_dir_all(top.join(directory)).unwrap();
        }
        let mut monitor = Monitor::of(&top);
        let keys = |keys: &[&str]| keys.iter().map(|key| (key.into(), [top.join("app")].into())).collect();
        monitor.set_mapping(keys(&["a", "a/b", "c/d"]));
        monitor.all(None);
        monitor.take_watches();
        monitor.set_mapping(keys(&["a"]));
        monitor.all(None);
        let news = monitor.take_watches();
        let is = |name: &str| news.get(&top.join(name)).copied();
        assert_eq!(is("storage/a"), Some(watch::identity(&top.join("storage/a"))));
        assert_eq!(is("storage/c"), Some(None), "nothing leads there any more");
    }
}
