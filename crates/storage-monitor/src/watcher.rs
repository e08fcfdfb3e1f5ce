//! Watches: one inotify watch for each directory.
//!
//! A recursive watch would miss entries of a new directory that are created before its watch, and end at the first
//! directory that it may not enter.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::mem;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use dirfd::Identity;
use notify::{Config, ErrorKind, RecommendedWatcher, RecursiveMode, Watcher as _};

use crate::pending_events::EventReceiver;
use crate::routes::below;

/// Watches on directories.
pub struct Watcher {
    receiver: Arc<EventReceiver>,
    inotify: Option<RecommendedWatcher>,
    /// Directories with the identity that a scan saw before they were watched.
    watched: BTreeMap<PathBuf, Identity>,
    /// Reason why not all directories are watched.
    pub watch_error: Option<String>,
}

impl Watcher {
    /// Watches nothing yet.
    pub fn new(receiver: Arc<EventReceiver>) -> Self {
        Self { receiver, inotify: None, watched: BTreeMap::new(), watch_error: None }
    }

    /// Removes all watches, after events were lost: among them may be the removal of a directory whose path and inode were
    /// reused.
    pub fn reset(&mut self) {
        self.inotify = None;
        self.watched.clear();
    }

    /// True if a watched directory, or one above it, may have been moved.
    pub fn is_affected(&self, moved: &BTreeSet<PathBuf>) -> bool {
        moved.iter().any(|name| below(&self.watched, name).next().is_some())
    }

    /// Watches exactly these directories, and returns the newly watched ones, which have to be scanned again.
    ///
    /// A watch is on a directory and not on its path: after a rename, the old watch would report the old path. So a
    /// directory that has another identity than before, or may have been `moved`, gets a new watch. One that was replaced
    /// between scan and watch is returned, and its new identity is wanted after the next scan.
    pub fn set(&mut self, wanted: BTreeMap<PathBuf, Identity>, moved: &BTreeSet<PathBuf>) -> Vec<PathBuf> {
        let Some(mut inotify) = self.inotify.take().or_else(|| self.create()) else { return Vec::new() };
        let moved = moved.iter().flat_map(|name| below(&self.watched, name));
        let moved: BTreeSet<PathBuf> = moved.map(|(path, _)| path.clone()).collect();
        let mut former = mem::take(&mut self.watched).into_iter().peekable();
        // Remove old watches first: a moved directory has only one watch. Fails if the directory is gone, and its watch with
        // it.
        let mut end = |path: &Path| drop(inotify.unwatch(path));
        let (mut kept, mut missing) = (Vec::new(), Vec::new());
        for (path, identity) in wanted {
            while let Some((other, _)) = former.next_if(|(other, _)| *other < path) {
                end(&other);
            }
            match former.next_if(|(other, _)| *other == path) {
                Some((_, same)) if same == identity && !moved.contains(&path) => kept.push((path, identity)),
                stale => {
                    stale.iter().for_each(|(path, _)| end(path));
                    missing.push((path, identity));
                }
            }
        }
        former.for_each(|(path, _)| end(&path));
        self.watched = kept.into_iter().collect();
        self.watch_error = None;
        let mut new = Vec::new();
        for (path, identity) in missing {
            match inotify.watch(&path, RecursiveMode::NonRecursive) {
                Ok(()) => {
                    self.watched.insert(path.clone(), identity);
                    new.push(path);
                }
                Err(error) if matches!(error.kind, ErrorKind::MaxFilesWatch) => {
                    self.watch_error = Some(format!(
                        "the kernel grants no more than {} watches; \
                         on the host: sysctl fs.inotify.max_user_watches=1048576",
                        self.watched.len()
                    ));
                    break;
                }
                // Gone meanwhile, or not readable, which a scan reports.
                Err(_) => {}
            }
        }
        self.inotify = Some(inotify);
        new
    }

    fn create(&mut self) -> Option<RecommendedWatcher> {
        let receiver = Arc::clone(&self.receiver);
        let config = Config::default().with_follow_symlinks(false);
        let created = RecommendedWatcher::new(move |event| receiver.push(event), config);
        self.watch_error = created.as_ref().err().map(|error| {
            format!("the kernel refuses to watch ({error}); on the host: sysctl fs.inotify.max_user_instances=1024")
        });
        created.ok()
    }
}

/// Returns the identity of a directory; `None` if the path is not a directory, or is a link.
pub fn identity(path: &Path) -> Option<Identity> {
    let meta = fs::symlink_metadata(path).ok().filter(fs::Metadata::is_dir)?;
    Some((meta.dev(), meta.ino()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_directory_is_scanned_again_whenever_its_watch_is_new() {
        let top = tempfile::tempdir().unwrap();
        let path = top.path().to_owned();
        let mut watcher = Watcher::new(Arc::new(EventReceiver::new(Path::new(""))));
        let mut set = |identity: Identity, moved: &[&Path]| {
            let moved = moved.iter().map(|path| path.to_path_buf()).collect();
            watcher.set([(path.clone(), identity)].into(), &moved).len()
        };
        let is = identity(&path).unwrap();
        let former = (is.0, is.1 + 1);
        assert_eq!([set(former, &[]), set(former, &[])], [1, 0]);
        assert_eq!([set(is, &[]), set(is, &[])], [1, 0], "it came in the place of the one that was scanned");
        assert_eq!([set(is, &[&path]), set(is, &[path.parent().unwrap()]), set(is, &[])], [1, 1, 0]);
        watcher.reset();
        assert!(!watcher.is_affected(&[path.clone()].into()));
        assert_eq!(watcher.set([(path.clone(), is)].into(), &BTreeSet::new()), [path.as_path()]);
        assert!(watcher.is_affected(&[path.parent().unwrap().to_owned()].into()));
        assert_eq!(watcher.set(BTreeMap::new(), &BTreeSet::new()), [""; 0].map(PathBuf::from));
        assert!(!watcher.is_affected(&[path].into()));
    }
}
