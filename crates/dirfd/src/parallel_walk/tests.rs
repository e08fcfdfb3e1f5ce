//! Tests of the parallel walk.

use std::fs::{self, Permissions};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::PermissionsExt;
use std::panic::{self, AssertUnwindSafe};
use std::sync::atomic::AtomicBool;

use super::*;

/// Collects paths: of files when they are visited, of directories when they are left.
#[derive(Default)]
struct Collector {
    paths: Mutex<Vec<String>>,
    panics: bool,
    stopped: AtomicBool,
}

impl Visitor for Collector {
    type Open = OwnedFd;
    type State = ();
    type Worker = Vec<String>;
    type Error = &'static str;
    const DESCRIPTORS_PER_DIRECTORY: usize = 1;
    const SPARE_DESCRIPTORS: usize = 0;

    fn source(open: &OwnedFd) -> BorrowedFd<'_> {
        open.as_fd()
    }

    fn before_step(&self) -> Result<(), &'static str> {
        if self.stopped.load(Ordering::Relaxed) { Err("stopped") } else { Ok(()) }
    }

    fn enter(
        &self,
        _: &Walk<'_, Self>,
        _: &Arc<Dir<Self>>,
        open: &OwnedFd,
        name: &CStr,
        _: &mut Vec<String>,
    ) -> Result<Entered<Self>, &'static str> {
        let opened = crate::open_dir(open, name).map_err(|_| "cannot open")?;
        Ok(Some((Arc::new(opened), ())))
    }

    fn entry(
        &self,
        _: &Walk<'_, Self>,
        directory: &Arc<Dir<Self>>,
        _: &OwnedFd,
        entry: Entry,
        worker: &mut Vec<String>,
    ) -> Result<(), &'static str> {
        assert!(!self.panics);
        worker.push(directory.path().join(entry.name.to_str().unwrap()).display().to_string());
        Ok(())
    }

    fn reopen(&self, parent: &OwnedFd, directory: &Dir<Self>) -> Result<Option<OwnedFd>, &'static str> {
        Ok(crate::open_dir(parent, directory.name.as_c_str()).ok())
    }

    fn on_vanished(&self, _: &Dir<Self>) {}

    fn on_list_error(&self, _: &Dir<Self>, _: Errno, _: &mut Vec<String>) -> Result<(), &'static str> {
        Err("cannot list")
    }

    fn leave(&self, _: &Walk<'_, Self>, directory: &Arc<Dir<Self>>) -> Result<(), &'static str> {
        self.paths.lock().unwrap().push(format!("{}/", directory.path().display()));
        Ok(())
    }

    fn finish_worker(&self, worker: Vec<String>) -> Result<(), &'static str> {
        self.paths.lock().unwrap().extend(worker);
        Ok(())
    }
}

fn tree() -> (tempfile::TempDir, Arc<OwnedFd>) {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir_all(dir.path().join("a/b/c")).unwrap();
    for number in 0..1_500 {
        fs::write(dir.path().join(format!("a/b/{number}")), "").unwrap();
    }
    fs::write(dir.path().join("a/b/c/file"), "").unwrap();
    let root = Arc::new(crate::open_root(dir.path()).unwrap());
    (dir, root)
}

#[test]
fn every_entry_is_visited_once_and_directories_are_left_after_their_content() {
    for threads in [1, 2, 8] {
        let (_dir, root) = tree();
        let collector = Collector::default();
        walk(&collector, root, (), threads).unwrap();
        let mut paths = collector.paths.into_inner().unwrap();
        let left: Vec<_> = paths.extract_if(.., |path| path.ends_with('/')).collect();
        assert_eq!(left, ["a/b/c/", "a/b/", "a/", "/"], "{threads}");
        assert_eq!(paths.len(), 1_501);
        paths.sort();
        paths.dedup();
        assert_eq!(paths.len(), 1_501);
    }
}

#[test]
fn a_stop_and_a_panic_end_all_threads() {
    let (_dir, root) = tree();
    let collector = Collector { stopped: AtomicBool::new(true), ..Collector::default() };
    assert_eq!(walk(&collector, Arc::clone(&root), (), 4), Err("stopped"));
    let collector = Collector { panics: true, ..Collector::default() };
    let ended = panic::catch_unwind(AssertUnwindSafe(|| walk(&collector, root, (), 4)));
    assert!(ended.is_err());
}

#[test]
fn a_name_that_leads_to_another_directory_is_not_opened_again() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    fs::create_dir(&first).unwrap();
    fs::create_dir(&second).unwrap();
    let root = Arc::new(crate::open_root(dir.path()).unwrap());
    let top = Directory::new(None, CString::default(), Arc::clone(&root), ());
    let child = |name: &CStr| {
        let open = Arc::new(crate::open_dir(&*root, name).unwrap());
        Directory::new(Some(Arc::clone(&top)), name.to_owned(), open, ())
    };
    let (known, other) = (child(c"first"), child(c"second"));
    let visitor = Collector::default();
    let walk = Walk {
        visitor: &visitor,
        queue: Queue::new(Task::List(Arc::clone(&top), 0)),
        open: OpenDirectories { limit: 1, source: Collector::source, oldest_first: Mutex::default() },
        failure: Mutex::new(None),
    };
    walk.open.add(&known);
    walk.open.add(&other);
    assert!(known.opened().is_none(), "closed");
    assert!(walk.open(&known).unwrap().is_some());
    // Each closing stores the current state.
    let before = known.closed().unwrap();
    fs::set_permissions(&first, Permissions::from_mode(0o700)).unwrap();
    *known.opened() = Some(Arc::new(crate::open_dir(&*root, c"first").unwrap()));
    walk.open.add(&known);
    walk.open.add(&other);
    assert!(known.opened().is_none() && known.closed().unwrap().changed != before.changed);
    fs::rename(&first, dir.path().join("moved")).unwrap();
    fs::rename(&second, &first).unwrap();
    assert!(walk.open(&known).unwrap().is_none());
}

#[test]
fn a_closed_directory_is_known_by_its_change_time_if_its_inode_number_is_another() {
    let dir = tempfile::tempdir().unwrap();
    let [first, second] = ["first", "second"].map(|name| dir.path().join(name));
    fs::create_dir(&first).unwrap();
    let state = |path| ClosedState::of(crate::open_root(path).unwrap().as_fd()).unwrap();
    let is_of = |closed: ClosedState, path| closed.is_of(crate::open_root(path).unwrap().as_fd());
    let closed = state(&first);
    let renumbered = ClosedState { identity: (closed.identity.0, closed.identity.1 + 1), ..closed };
    assert!(is_of(closed, &first) && is_of(renumbered, &first));
    // A directory that gets the name is changed by its rename.
    while fs::create_dir(&second).is_ok() && state(&second).changed == closed.changed {
        fs::remove_dir(&second).unwrap();
    }
    assert!(!is_of(closed, &second));
}
