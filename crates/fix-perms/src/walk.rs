//! Walks a tree by descriptors, in parallel, without following a link or entering another mount.

use std::cell::OnceCell;
use std::ffi::{CStr, OsStr};
use std::fmt;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use dirfd::FileType;
use dirfd::parallel_walk::{self, Dir, Entered, Visitor};
use kit::quote::quoted;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::fstatat;

use crate::acl::Acl;
use crate::acl_batch::{self, AclBatch, PendingAcl};
use crate::change::{Change, ChangeKind};
use crate::entry::Entry;
use crate::entry_handle::EntryHandle;
use crate::hard_links::HardLinks;
use crate::rules::Rules;
use crate::summary::{EntryCount, Summary};

const PATH_ONLY: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// A change to an entry, made or needed.
#[derive(Debug)]
pub struct Step<'a> {
    /// Path of the entry, as found by the walk.
    pub path: &'a Path,
    /// The change.
    pub change: &'a Change,
}

impl fmt::Display for Step<'_> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}: {}", quoted(self.path), self.change)
    }
}

/// Function called for each step; its error ends the walk.
pub type StepCallback<'a> = &'a (dyn Fn(&Step<'_>) -> io::Result<()> + Sync);

/// Corrects the tree at `path`; with `dry_run` only finds the changes that are needed.
pub fn walk<R: Rules>(
    rules: &R,
    path: &Path,
    root: OwnedFd,
    dry_run: bool,
    on_step: StepCallback<'_>,
) -> io::Result<Summary> {
    kit::open_files::raise();
    let root = Arc::new(root);
    let walk = Walk {
        rules,
        path,
        supports_acls: AtomicBool::new(EntryHandle::open(Arc::clone(&root)).supports_acls()),
        dry_run,
        on_step,
        hard_links: HardLinks::default(),
        summary: Mutex::default(),
        stopped: OnceLock::new(),
    };
    if walk.correct_root(&root) {
        let threads = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        // Its only error is kept in `stopped`.
        let _ = parallel_walk::walk(&walk, root, rules.root(), threads);
    }
    if let Some(error) = walk.stopped.into_inner() {
        return Err(error);
    }
    let mut summary = walk.summary.into_inner().unwrap_or_else(PoisonError::into_inner);
    summary.left_alone += walk.hard_links.incomplete();
    Ok(summary)
}

struct Walk<'a, R: Rules> {
    rules: &'a R,
    path: &'a Path,
    /// True if the file system has ACLs and allows to set them, as tested on the root directory.
    supports_acls: AtomicBool,
    dry_run: bool,
    on_step: StepCallback<'a>,
    hard_links: HardLinks,
    summary: Mutex<Summary>,
    stopped: OnceLock<io::Error>,
}

/// Marks a walk that an error of the [`StepCallback`] has stopped.
struct Stopped;

/// State of one thread.
#[derive(Default)]
struct Worker {
    summary: Summary,
    batch: AclBatch,
    /// True if the previous file was wrong: wrong files come in groups.
    expects_wrong: bool,
}

impl<R: Rules> Visitor for Walk<'_, R> {
    type Open = OwnedFd;
    type State = R::Zone;
    type Worker = Worker;
    type Error = Stopped;
    const DESCRIPTORS_PER_DIRECTORY: usize = 1;
    const SPARE_DESCRIPTORS: usize = acl_batch::SIZE + 2;

    fn source(open: &OwnedFd) -> BorrowedFd<'_> {
        open.as_fd()
    }

    fn before_step(&self) -> Result<(), Stopped> {
        if self.stopped.get().is_none() { Ok(()) } else { Err(Stopped) }
    }

    fn wants(&self, directory: &Dir<Self>, name: &CStr) -> bool {
        self.rules.child(**directory, name.to_bytes()).is_some()
    }

    fn enter(
        &self,
        _: &parallel_walk::Walk<'_, Self>,
        parent: &Arc<Dir<Self>>,
        open: &OwnedFd,
        name: &CStr,
        worker: &mut Worker,
    ) -> Result<Entered<Self>, Stopped> {
        let Some(zone) = self.rules.child(***parent, name.to_bytes()) else { return Ok(None) };
        let path = || self.path(parent, Some(name));
        let opened = dirfd::open_dir(open, name).and_then(|fd| {
            let fd = Arc::new(fd);
            let handle = EntryHandle::open(Arc::clone(&fd));
            Ok((handle.stat()?, handle, fd))
        });
        match opened {
            Ok((entry, handle, fd)) => {
                worker.summary.entries += 1;
                self.count_private(worker, zone, &entry, path);
                self.correct(worker, &handle, name.to_bytes(), zone, &entry, path);
                Ok(self.rules.descends(zone, &entry).then_some((fd, zone)))
            }
            Err(error) => {
                worker.error("read", path, &error.into());
                Ok(None)
            }
        }
    }

    fn entry(
        &self,
        walk: &parallel_walk::Walk<'_, Self>,
        directory: &Arc<Dir<Self>>,
        open: &OwnedFd,
        entry: parallel_walk::Entry,
        worker: &mut Worker,
    ) -> Result<(), Stopped> {
        if !matches!(entry.kind, FileType::RegularFile | FileType::Unknown) {
            worker.summary.entries += 1;
        } else if self.file(worker, directory, open.as_fd(), &entry) == Some(FileType::Directory) {
            walk.enter(directory, entry.name);
        }
        Ok(())
    }

    fn reopen(&self, parent: &OwnedFd, directory: &Dir<Self>) -> Result<Option<OwnedFd>, Stopped> {
        let opened = dirfd::open_dir(parent, directory.name.as_c_str());
        if let Err(error) = opened
            && error != Errno::EXDEV
        {
            self.summary().error("read", &self.path(directory, None), &error.into());
        }
        Ok(opened.ok())
    }

    // Entries may vanish during the walk.
    fn on_vanished(&self, _: &Dir<Self>) {}

    fn on_list_error(&self, directory: &Dir<Self>, cause: Errno, worker: &mut Worker) -> Result<(), Stopped> {
        worker.error("read", || self.path(directory, None), &cause.into());
        Ok(())
    }

    fn finish_worker(&self, mut worker: Worker) -> Result<(), Stopped> {
        self.flush_batch(&mut worker);
        self.summary().add(worker.summary);
        Ok(())
    }
}

impl<R: Rules> Walk<'_, R> {
    fn summary(&self) -> MutexGuard<'_, Summary> {
        self.summary.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn supports_acls(&self) -> bool {
        self.supports_acls.load(Ordering::Relaxed)
    }

    fn path(&self, directory: &Dir<Self>, name: Option<&CStr>) -> PathBuf {
        let mut path = self.path.join(directory.path());
        path.extend(name.map(|name| OsStr::from_bytes(name.to_bytes())));
        path
    }

    /// Corrects the root directory; true if its content is to be checked.
    fn correct_root(&self, root: &Arc<OwnedFd>) -> bool {
        let mut worker = Worker::default();
        if !self.supports_acls() && R::USES_ACLS {
            let error = io::ErrorKind::Unsupported.into();
            worker.summary.error(ChangeKind::DefaultAcl.name(), self.path, &error);
        }
        let (zone, handle) = (self.rules.root(), EntryHandle::open(Arc::clone(root)));
        let descends = match handle.stat() {
            Ok(entry) => {
                worker.summary.entries += 1;
                self.correct(&mut worker, &handle, b"", zone, &entry, || self.path.to_owned());
                self.flush_batch(&mut worker);
                // A file system that refuses it here would refuse it for every entry.
                if worker.summary.refused.contains_key(ChangeKind::DefaultAcl.name()) {
                    self.supports_acls.store(false, Ordering::Relaxed);
                }
                self.rules.descends(zone, &entry)
            }
            Err(error) => {
                worker.summary.error("read", self.path, &error.into());
                false
            }
        };
        self.summary().add(worker.summary);
        descends
    }

    /// Opens a file; one that may not be read, as in a dry run of another user, as an `O_PATH` descriptor.
    fn open_file(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<EntryHandle> {
        match dirfd::open_same_mount(directory, name, dirfd::READ) {
            Ok(fd) => Ok(EntryHandle::open(Arc::new(fd))),
            Err(_) => Ok(EntryHandle::from_path_fd(dirfd::open_same_mount(directory, name, PATH_ONLY)?)),
        }
    }

    /// Corrects an entry that is not known to be a directory; returns its type.
    fn file(
        &self,
        worker: &mut Worker,
        directory: &Dir<Self>,
        parent: BorrowedFd<'_>,
        listed: &parallel_walk::Entry,
    ) -> Option<FileType> {
        let name = listed.name.as_c_str();
        let zone = self.rules.child(**directory, name.to_bytes())?;
        let full = || self.path(directory, Some(name));
        let (entry, opened) = match Self::stat_file(parent, listed, worker.expects_wrong) {
            Ok(opened) => opened,
            Err(error) => {
                worker.error("read", full, &error);
                return None;
            }
        };
        if entry.kind == FileType::Directory {
            return Some(entry.kind);
        }
        worker.summary.entries += 1;
        self.count_private(worker, zone, &entry, full);
        // Opened only if needed: most files are correct by their modes alone.
        let is_open = opened.is_some();
        let handle = opened.map_or_else(OnceCell::new, OnceCell::from);
        let read_acl = |kind| {
            self.read_acl(|| match handle.get() {
                Some(handle) => EntryHandle::acl(handle, kind),
                None => Self::open_file(parent, name).and_then(|new| handle.get_or_init(|| new).acl(kind)),
            })
        };
        let required = self.rules.required_changes(zone, name.to_bytes(), &entry, &read_acl);
        worker.expects_wrong = required.as_ref().is_ok_and(|changes| !changes.is_empty());
        match required {
            Ok(changes) if changes.is_empty() => {}
            Ok(_) if R::NEEDS_ALL_LINKS && !self.hard_links.all_seen(entry.identity, entry.links) => {}
            Ok(changes) => {
                let handle = handle.into_inner().map_or_else(|| Self::open_file(parent, name), Ok);
                let reread = |handle: EntryHandle| Ok((if is_open { entry } else { handle.stat()? }, handle));
                match handle.and_then(reread) {
                    // Replaced by another file, whose other links were not seen.
                    Ok((current, _)) if current.identity != entry.identity => {}
                    Ok((current, handle)) if current.is_executable() && handle.has_capabilities() => {
                        worker.summary.left_alone += 1;
                    }
                    Ok((current, handle)) if current == entry => self.apply(worker, &handle, changes, full),
                    Ok((current, handle)) => {
                        self.correct(worker, &handle, name.to_bytes(), zone, &current, full);
                    }
                    Err(error) => worker.error("read", full, &error),
                }
            }
            Err(error) => worker.error("read", full, &error),
        }
        Some(entry.kind)
    }

    fn count_private(&self, worker: &mut Worker, zone: R::Zone, entry: &Entry, path: impl Fn() -> PathBuf) {
        if self.rules.is_private(zone, entry) {
            worker.summary.add_private(EntryCount { count: 1, first: path() });
        }
    }

    /// Reads the state of a file by its name, or through a descriptor if it probably has to be changed: that resolves the name
    /// once instead of twice.
    fn stat_file(
        parent: BorrowedFd<'_>,
        listed: &parallel_walk::Entry,
        expects_wrong: bool,
    ) -> io::Result<(Entry, Option<EntryHandle>)> {
        let name = listed.name.as_c_str();
        if expects_wrong
            && listed.kind == FileType::RegularFile
            && let Ok(handle) = Self::open_file(parent, name)
            && let Ok(entry) = handle.stat()
        {
            return Ok((entry, Some(handle)));
        }
        Ok((Entry::from(&fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?), None))
    }

    /// Makes the changes that an open entry requires.
    fn correct(
        &self,
        worker: &mut Worker,
        handle: &EntryHandle,
        name: &[u8],
        zone: R::Zone,
        entry: &Entry,
        path: impl Fn() -> PathBuf,
    ) {
        let read_acl = |kind| self.read_acl(|| handle.acl(kind));
        match self.rules.required_changes(zone, name, entry, &read_acl) {
            Ok(changes) => self.apply(worker, handle, changes, path),
            Err(error) => worker.error("read", path, &error),
        }
    }

    /// Makes these changes to an open entry.
    fn apply(
        &self,
        worker: &mut Worker,
        handle: &EntryHandle,
        changes: Vec<Change>,
        path: impl Fn() -> PathBuf,
    ) {
        if changes.is_empty() {
            return;
        }
        let path = path();
        if self.dry_run {
            let shown = changes.iter().filter(|change| !change.is_acl() || self.supports_acls());
            return shown.for_each(|change| self.record(&mut worker.summary, &path, change, Ok(())));
        }
        let attributes: Vec<_> = changes.iter().filter(|change| !change.is_acl()).collect();
        handle.set_attributes(&attributes, |change, result| {
            self.record(&mut worker.summary, &path, change, result);
        });
        for change in changes {
            if change.is_acl()
                && self.supports_acls()
                && worker.batch.add(PendingAcl { handle: handle.clone(), path: path.clone(), change })
            {
                self.flush_batch(worker);
            }
        }
    }

    fn flush_batch(&self, worker: &mut Worker) {
        let Worker { summary, batch, .. } = worker;
        batch.flush(|PendingAcl { path, change, .. }, result| self.record(summary, path, change, result));
    }

    /// Counts a change and reports it.
    fn record(&self, summary: &mut Summary, path: &Path, change: &Change, result: io::Result<()>) {
        if let Err(error) = result {
            return summary.error(change.kind().name(), path, &error);
        }
        summary.change(change.kind());
        if self.stopped.get().is_none()
            && let Err(error) = (self.on_step)(&Step { path, change })
        {
            // Only the first error is reported.
            let _ = self.stopped.set(error);
        }
    }

    fn read_acl(&self, read: impl FnOnce() -> io::Result<Option<Acl>>) -> io::Result<Option<Acl>> {
        if self.supports_acls() { read() } else { Ok(None) }
    }
}

impl Worker {
    fn error(&mut self, operation: &'static str, path: impl Fn() -> PathBuf, error: &io::Error) {
        if error.kind() == io::ErrorKind::CrossesDevices {
            self.summary.mounts += 1;
        } else {
            self.summary.error(operation, &path(), error);
        }
    }
}
