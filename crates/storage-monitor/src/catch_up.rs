//! What happened between a look and the watch that was set after it: nobody was told.

use std::collections::BTreeSet;
use std::path::PathBuf;

use crate::changes::{Changes, Names};
use crate::findings::Tally;
use crate::monitor::Monitor;

impl Monitor {
    /// Looks again where directories are watched from now on.
    pub fn catch_up(&mut self, watched: &[PathBuf]) -> Tally {
        let contents = watched.iter().map(|path| (path.clone(), Names::All)).collect();
        let mut changes = Changes { contents, ..Changes::default() };
        if self.is_elsewhere(&changes) && (self.read_mapping(false) || self.targets_changed()) {
            return self.all(None);
        }
        changes.names = self.absent_below(&changes);
        self.some(&changes)
    }

    /// The keys below these directories that had no directory yet: above a key, nothing else leads there.
    fn absent_below(&self, changes: &Changes) -> BTreeSet<PathBuf> {
        let (storage, folders) = (self.storage(), self.mapped.routes.folders());
        let keys = self.mapping().into_iter().flat_map(|mapping| mapping.0.keys());
        let absent = keys
            .filter(|key| folders.get(key.as_path()).is_some_and(|folder| folder.identity.is_none()))
            .map(|key| storage.join(key));
        absent.filter(|path| path.ancestors().any(|above| changes.contents.contains_key(above))).collect()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn what_came_before_the_watch_is_found() {
        let top = tempfile::tempdir().unwrap();
        let top = fs::canonicalize(top.path()).unwrap();
        let path = |below: &str| top.join(below);
        for directory in ["storage/a", "app", "etc"] {
            fs::create_dir_all(path(directory)).unwrap();
        }
        fs::write(path("storage/a/x"), "").unwrap();
        let mut monitor = Monitor::of(&top);
        let map = [("a", "later/models"), ("new/deep", "app")];
        monitor.set_mapping(map.map(|(key, directory)| (key.into(), [path(directory)].into())).into());
        monitor.all(None);
        // A key's directory in one that is not watched yet.
        fs::create_dir_all(path("storage/new/deep")).unwrap();
        fs::write(path("storage/new/deep/y"), "").unwrap();
        monitor.catch_up(&[path("storage/new")]);
        assert!(path("app/y").is_symlink());
        // A directory of an application, likewise.
        fs::create_dir(path("later")).unwrap();
        monitor.catch_up(std::slice::from_ref(&top));
        assert!(path("later/models/x").is_symlink());
        // An edit of the mapping, which is told from its complaint.
        fs::write(path("etc/mappings.sh"), "").unwrap();
        fs::set_permissions(path("etc/mappings.sh"), fs::Permissions::from_mode(0o666)).unwrap();
        monitor.catch_up(&[path("etc")]);
        let mistake = monitor.mistake().unwrap();
        assert!(mistake.ends_with("others than root may write it"), "{mistake}");
    }
}
