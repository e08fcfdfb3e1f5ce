//! Collects events of the kernel until a scan uses them as hints.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::mem;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use notify::Event;
use notify::event::{AccessKind, AccessMode, CreateKind, EventKind, ModifyKind, RemoveKind};

use crate::directory_scan::Names;
use crate::routes::below;

/// With more events than this, a scan of everything is faster.
const MAX_EVENTS: usize = 16_384;

/// Paths that may have changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Changes {
    /// Directories, with the names in them that came or went.
    pub contents: BTreeMap<PathBuf, Names>,
    /// Names that came or went and may have been directories: all that is below has changed with them.
    pub names: BTreeSet<PathBuf>,
}

impl Changes {
    /// Adds a path that came or went.
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

    /// True if there is no change.
    pub fn is_empty(&self) -> bool {
        self.contents.is_empty() && self.names.is_empty()
    }

    /// Returns those of the directories in which something may have changed, and their names; some more than once.
    pub fn affected<'a, T>(
        &'a self,
        known: &'a BTreeMap<Arc<Path>, T>,
    ) -> impl Iterator<Item = (&'a Arc<Path>, &'a T, Names)> {
        let contents = self.contents.iter().filter_map(|(path, names)| {
            let (path, about) = known.get_key_value(path.as_path())?;
            Some((path, about, names.clone()))
        });
        let below = self.names.iter().flat_map(|name| below(known, name));
        contents.chain(below.map(|(path, about)| (path, about, Names::All)))
    }

    /// Returns the changes below a directory, relative to it.
    pub fn below(&self, top: &Path) -> Self {
        let relative = |path: &PathBuf| path.strip_prefix(top).ok().map(Path::to_owned);
        let contents = self.contents.iter();
        Self {
            contents: contents.filter_map(|(path, names)| Some((relative(path)?, names.clone()))).collect(),
            names: self.names.iter().filter_map(relative).collect(),
        }
    }
}

/// Events since the last scan.
#[derive(Debug, Default)]
pub struct PendingEvents {
    /// Changes, as absolute paths.
    pub changes: Changes,
    /// Events were lost, or are too many: everything has to be scanned.
    pub overflow: bool,
    /// A scan of everything was asked for.
    pub scan_requested: bool,
    count: usize,
}

impl PendingEvents {
    /// As if events had been lost.
    pub fn overflow() -> Self {
        Self { overflow: true, ..Self::default() }
    }

    fn is_empty(&self) -> bool {
        self.changes.is_empty() && !self.overflow && !self.scan_requested
    }

    fn push(&mut self, event: notify::Result<Event>, mappings: &Path) {
        let Ok(event) = event else {
            self.overflow = true;
            return;
        };
        self.overflow |= event.need_rescan();
        let may_be_directory = match event.kind {
            EventKind::Create(CreateKind::File) | EventKind::Remove(RemoveKind::File) => false,
            EventKind::Create(_) | EventKind::Remove(_) | EventKind::Modify(ModifyKind::Name(_)) => true,
            EventKind::Access(AccessKind::Close(AccessMode::Write)) => {
                // Changes no link, but may be an edit of the mapping, which not every editor replaces.
                let edits = event.paths.into_iter().filter(|path| path == mappings);
                edits.for_each(|path| self.add(path, false));
                return;
            }
            // Other changes of a file's content change no link.
            _ => return,
        };
        event.paths.into_iter().for_each(|path| self.add(path, may_be_directory));
    }

    fn add(&mut self, path: PathBuf, may_be_directory: bool) {
        self.count += 1;
        if self.count > MAX_EVENTS {
            self.changes = Changes::default();
            self.overflow = true;
        }
        if !self.overflow {
            self.changes.add(path, may_be_directory);
        }
    }
}

/// Receives events and requests, and wakes the event loop.
#[derive(Debug)]
pub struct EventReceiver {
    pending: Mutex<PendingEvents>,
    wake: Condvar,
    /// The mappings file.
    mappings: PathBuf,
}

impl EventReceiver {
    /// A receiver without events.
    pub fn new(mappings: &Path) -> Self {
        Self { pending: Mutex::default(), wake: Condvar::new(), mappings: mappings.to_owned() }
    }

    fn lock(&self) -> MutexGuard<'_, PendingEvents> {
        // No holder of the lock panics.
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Adds an event of the kernel.
    pub fn push(&self, event: notify::Result<Event>) {
        let mut pending = self.lock();
        pending.push(event, &self.mappings);
        if !pending.is_empty() {
            self.wake.notify_one();
        }
    }

    /// Asks for a scan of everything.
    pub fn request_scan(&self) {
        self.lock().scan_requested = true;
        self.wake.notify_one();
    }

    /// Waits for an event or until a time; then collects events for a while, because changes come in bursts.
    pub fn wait(&self, until: Instant, gather: Duration) -> PendingEvents {
        let left = until.saturating_duration_since(Instant::now());
        let waited = self.wake.wait_timeout_while(self.lock(), left, |pending| pending.is_empty());
        let (pending, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if timeout.timed_out() {
            return PendingEvents::default();
        }
        let waited = self.wake.wait_timeout_while(pending, gather, |pending| !pending.scan_requested);
        let (mut pending, _) = waited.unwrap_or_else(PoisonError::into_inner);
        mem::take(&mut *pending)
    }
}

#[cfg(test)]
mod tests {
    use notify::event::{DataChange, Flag, RenameMode};

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
        let known: BTreeMap<Arc<Path>, bool> =
            ["", "a", "a/x", "b", "b/x/y", "bb"].map(|path| (Path::new(path).into(), true)).into();
        let affected: Vec<_> =
            changes.affected(&known).map(|(path, _, names)| (path.to_str().unwrap(), names)).collect();
        let expected = [
            ("", only(&["b"])),
            ("a", only(&["x", "y", "y.aria2"])),
            ("b", Names::All),
            ("b/x/y", Names::All),
        ];
        assert_eq!(affected, expected);
    }

    fn pending(kind: EventKind, path: &str) -> PendingEvents {
        let mut pending = PendingEvents::default();
        pending.push(Ok(Event::new(kind).add_path(path.into())), Path::new("/etc/mappings.sh"));
        pending
    }

    #[test]
    fn events_of_names_are_changes_and_events_of_content_are_not() {
        let written = EventKind::Access(AccessKind::Close(AccessMode::Write));
        for kind in [
            EventKind::Access(AccessKind::Read),
            EventKind::Modify(ModifyKind::Data(DataChange::Any)),
            written,
        ] {
            assert!(pending(kind, "/s/a").is_empty());
        }
        assert!(!pending(written, "/etc/mappings.sh").is_empty(), "but of the mapping");
        let file = pending(EventKind::Create(CreateKind::File), "/s/a");
        let contents = [(PathBuf::from("/s"), Names::one(b"a"))].into();
        assert_eq!((file.changes.contents, file.changes.names), (contents, [].into()));
        let name = pending(EventKind::Modify(ModifyKind::Name(RenameMode::To)), "/s/a");
        assert_eq!(name.changes.names, [PathBuf::from("/s/a")].into());
    }

    #[test]
    fn lost_or_too_many_events_are_an_overflow() {
        let mut lost = PendingEvents::default();
        lost.push(Ok(Event::new(EventKind::Other).set_flag(Flag::Rescan)), Path::new(""));
        assert!(lost.overflow);
        let mut crowd = PendingEvents::default();
        for number in 0..=MAX_EVENTS {
            let path = PathBuf::from(format!("/s/{number}"));
            crowd.push(Ok(Event::new(EventKind::Create(CreateKind::Folder)).add_path(path)), Path::new(""));
        }
        assert!(crowd.overflow && crowd.changes.is_empty());
    }
}
