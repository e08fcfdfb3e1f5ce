//! A walk over a tree by several threads, which keeps few directories open and few names in memory.
//!
//! A [`Visitor`] decides what happens to entries. Directories are walked depth first, so that little of the tree waits.
//! Each is listed in parts, its files are handled in the order of their inodes, and [`leave`](Visitor::leave) is called
//! after everything below it. If descriptors run out, a directory is closed and reopened later.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsString};
use std::iter;
use std::ops::Deref;
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread;

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};
use nix::sys::stat::fstat;
use nix::unistd::{Whence, lseek};
use rustix::fs::{FileType, RawDir};

use crate::Identity;
use crate::listing::{BUFFER, errno, is_dot};
use crate::queue::Queue;

/// Maximum number of unvisited names of one directory; listing pauses at this number.
const LISTING_CHUNK: usize = 512;

/// A directory of the walk, from its listing until everything below it is done.
///
/// It dereferences to the visitor's own state of it.
#[derive(Debug)]
pub struct Directory<O, S> {
    /// The directory above; none for the root.
    pub parent: Option<Arc<Self>>,
    /// Its name there; empty for the root.
    pub name: CString,
    state: S,
    /// Number of unfinished tasks, subdirectories and deferred names; the directory is left at zero.
    pending: AtomicUsize,
    opened: Mutex<Option<Arc<O>>>,
    /// State of the directory when it was last closed: its name may lead to another one since.
    closed: Mutex<Option<ClosedState>>,
}

/// State of a directory that was closed.
#[derive(Debug, Clone, Copy)]
struct ClosedState {
    identity: Identity,
    /// Change time, in seconds and nanoseconds.
    changed: (i64, i64),
}

impl ClosedState {
    fn of(open: BorrowedFd<'_>) -> nix::Result<Self> {
        let stat = fstat(open)?;
        Ok(Self { identity: (stat.st_dev, stat.st_ino), changed: (stat.st_ctime, stat.st_ctime_nsec) })
    }

    /// True if an open directory is this one. Some file systems (overlayfs over two file systems, FUSE) give an inode another
    /// number once it left memory; there it is known by its change time, which a rename sets.
    fn is_of(self, open: BorrowedFd<'_>) -> bool {
        Self::of(open).is_ok_and(|now| {
            now.identity == self.identity || (now.identity.0, now.changed) == (self.identity.0, self.changed)
        })
    }
}

/// A directory of a visitor's walk.
pub type Dir<V> = Directory<<V as Visitor>::Open, <V as Visitor>::State>;

/// The descriptors and state of a directory that is entered; nothing for one that is not.
pub type Entered<V> = Option<(Arc<<V as Visitor>::Open>, <V as Visitor>::State)>;

impl<O, S> Directory<O, S> {
    fn new(parent: Option<Arc<Self>>, name: CString, open: Arc<O>, state: S) -> Arc<Self> {
        // The task that lists it is pending.
        let pending = AtomicUsize::new(1);
        let opened = Mutex::new(Some(open));
        Arc::new(Self { parent, name, state, pending, opened, closed: Mutex::default() })
    }

    /// Returns the path below the root, for messages.
    pub fn path(&self) -> PathBuf {
        let below_root =
            || iter::successors(Some(self), |it| it.parent.as_deref()).take_while(|it| it.parent.is_some());
        let length: usize = below_root().map(|it| it.name.to_bytes().len() + 1).sum();
        // Callers need a path for each entry: one allocation.
        let mut path = vec![b'/'; length.saturating_sub(1)];
        let mut end = path.len();
        for name in below_root().map(|it| it.name.to_bytes()) {
            path[end - name.len()..end].copy_from_slice(name);
            end = (end - name.len()).saturating_sub(1);
        }
        OsString::from_vec(path).into()
    }

    /// Delays `leave` for this directory until a deferred name is resumed ([`Walk::resume`]) or released
    /// ([`Directory::undo_defer`]).
    pub fn defer_leave(&self) {
        self.pending.fetch_add(1, Ordering::AcqRel);
    }

    /// Undoes [`Directory::defer_leave`]; call it only while an entry of the directory is visited.
    pub fn undo_defer(&self) {
        self.pending.fetch_sub(1, Ordering::AcqRel);
    }

    fn closed(&self) -> MutexGuard<'_, Option<ClosedState>> {
        self.closed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn opened(&self) -> MutexGuard<'_, Option<Arc<O>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self) {
        let open = self.opened().take();
        drop(open);
    }
}

impl<O, S> Deref for Directory<O, S> {
    type Target = S;

    fn deref(&self) -> &S {
        &self.state
    }
}

/// An entry as its directory lists it.
#[derive(Debug)]
pub struct Entry {
    /// Its name.
    pub name: CString,
    /// Its type, `Unknown` where the file system does not list types.
    pub kind: FileType,
}

/// Handles the entries of a tree.
pub trait Visitor: Sync + Sized {
    /// The open descriptors of a directory.
    type Open: Send + Sync;
    /// State of one directory.
    type State: Send + Sync;
    /// State of one thread.
    type Worker: Default;
    /// Error that ends the walk.
    type Error: Send;
    /// Number of descriptors of one open directory.
    const DESCRIPTORS_PER_DIRECTORY: usize;
    /// Number of other descriptors that one thread holds open.
    const SPARE_DESCRIPTORS: usize;
    /// Number of files of one task: large enough for its overhead, small enough to share a directory among threads.
    const BATCH: usize = 32;

    /// Returns the descriptor that is listed.
    fn source(open: &Self::Open) -> BorrowedFd<'_>;

    /// Called before each task and each entry.
    fn before_step(&self) -> Result<(), Self::Error>;

    /// Called after each task.
    fn after_task(&self) {}

    /// True if a listed name is to be visited.
    fn wants(&self, _directory: &Dir<Self>, _name: &CStr) -> bool {
        true
    }

    /// Opens a directory that was listed as one; nothing if it is not to be entered.
    fn enter(
        &self,
        walk: &Walk<'_, Self>,
        parent: &Arc<Dir<Self>>,
        open: &Self::Open,
        name: &CStr,
        worker: &mut Self::Worker,
    ) -> Result<Entered<Self>, Self::Error>;

    /// Handles an entry that was not listed as a directory; pass one that is a directory to [`Walk::enter`].
    fn entry(
        &self,
        walk: &Walk<'_, Self>,
        directory: &Arc<Dir<Self>>,
        open: &Self::Open,
        entry: Entry,
        worker: &mut Self::Worker,
    ) -> Result<(), Self::Error>;

    /// Opens a directory that was closed; nothing if it is gone.
    fn reopen(&self, parent: &Self::Open, directory: &Dir<Self>) -> Result<Option<Self::Open>, Self::Error>;

    /// Called if a directory, or one above it, was removed.
    fn on_vanished(&self, directory: &Dir<Self>);

    /// Handles an error of a listing; the names that were read are visited if it returns none.
    fn on_list_error(
        &self,
        directory: &Dir<Self>,
        cause: Errno,
        worker: &mut Self::Worker,
    ) -> Result<(), Self::Error>;

    /// Called after everything below a directory was visited.
    fn leave(&self, _walk: &Walk<'_, Self>, _directory: &Arc<Dir<Self>>) -> Result<(), Self::Error> {
        Ok(())
    }

    /// Receives the state of a thread at its end, in that thread.
    fn finish_worker(&self, worker: Self::Worker) -> Result<(), Self::Error>;
}

enum Task<O, S> {
    /// Read some names of a directory, from this position on.
    List(Arc<Directory<O, S>>, u64),
    /// Enter a directory of a directory.
    Enter(Arc<Directory<O, S>>, CString),
    /// Visit entries of a directory.
    Entries(Arc<Directory<O, S>>, Vec<Entry>),
}

/// A walk under way.
pub struct Walk<'a, V: Visitor> {
    visitor: &'a V,
    queue: Queue<Task<V::Open, V::State>>,
    open: OpenDirectories<V::Open, V::State>,
    failure: Mutex<Option<V::Error>>,
}

/// Walks everything below `root` in up to `threads` threads, the calling one included; returns the first error.
pub fn walk<V: Visitor>(
    visitor: &V,
    root: Arc<V::Open>,
    state: V::State,
    threads: usize,
) -> Result<(), V::Error> {
    let root = Directory::new(None, CString::default(), root, state);
    let walk = Walk {
        visitor,
        queue: Queue::new(Task::List(root, 0)),
        open: OpenDirectories::new(V::DESCRIPTORS_PER_DIRECTORY, V::SPARE_DESCRIPTORS * threads, V::source),
        failure: Mutex::new(None),
    };
    thread::scope(|scope| {
        for _ in 1..threads {
            // If a thread cannot be started, the others do its work.
            let _ = thread::Builder::new().spawn_scoped(scope, || walk.work());
        }
        walk.work();
    });
    let failure = walk.failure.into_inner().unwrap_or_else(PoisonError::into_inner);
    failure.map_or(Ok(()), Err)
}

impl<V: Visitor> Walk<'_, V> {
    fn work(&self) {
        // A thread that panics must not leave the others waiting for it.
        let _closer = CloseOnPanic(&self.queue);
        let mut worker = V::Worker::default();
        while let Some(task) = self.queue.take() {
            self.check(self.step(task, &mut worker));
            self.visitor.after_task();
            self.queue.done();
        }
        self.check(self.visitor.finish_worker(worker));
    }

    fn check(&self, result: Result<(), V::Error>) {
        if let Err(error) = result {
            self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
            self.queue.close();
        }
    }

    fn step(&self, task: Task<V::Open, V::State>, worker: &mut V::Worker) -> Result<(), V::Error> {
        self.visitor.before_step()?;
        match task {
            Task::List(directory, position) => {
                self.list(&directory, position, worker)?;
                self.finish(directory)
            }
            Task::Enter(parent, name) => self.step_into(parent, name, worker),
            Task::Entries(directory, entries) => {
                if let Some(open) = self.open(&directory)? {
                    self.entries(&directory, &open, entries, worker)?;
                }
                self.finish(directory)
            }
        }
    }

    fn step_into(&self, parent: Arc<Dir<V>>, name: CString, worker: &mut V::Worker) -> Result<(), V::Error> {
        let entered = match self.open(&parent)? {
            Some(open) => self.visitor.enter(self, &parent, &open, &name, worker)?,
            None => None,
        };
        let Some((open, state)) = entered else { return self.finish(parent) };
        // The task stays pending in the parent until the directory is left.
        let directory = Directory::new(Some(parent), name, open, state);
        self.open.add(&directory);
        self.list(&directory, 0, worker)?;
        self.finish(directory)
    }

    fn entries(
        &self,
        directory: &Arc<Dir<V>>,
        open: &V::Open,
        entries: Vec<Entry>,
        worker: &mut V::Worker,
    ) -> Result<(), V::Error> {
        for entry in entries {
            self.visitor.before_step()?;
            self.visitor.entry(self, directory, open, entry, worker)?;
        }
        Ok(())
    }

    /// Reads one buffer of names. Not all at once: a directory may have a million.
    fn list(&self, directory: &Arc<Dir<V>>, position: u64, worker: &mut V::Worker) -> Result<(), V::Error> {
        let Some(open) = self.open(directory)? else { return Ok(()) };
        let source = V::source(&open);
        // The descriptor may be a new one since the last part.
        if position > 0
            && let Err(cause) = lseek(source, position.cast_signed(), Whence::SeekSet)
        {
            return self.visitor.on_list_error(directory, cause, worker);
        }
        let (mut files, mut tasks) = (vec![], vec![]);
        let mut buffer = Vec::with_capacity(BUFFER);
        let mut listing = RawDir::new(source, buffer.spare_capacity_mut());
        while let Some(entry) = listing.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(cause) => {
                    self.visitor.on_list_error(directory, errno(cause), worker)?;
                    break;
                }
            };
            let (name, kind, position) = (entry.file_name(), entry.file_type(), entry.next_entry_cookie());
            if !is_dot(name) && self.visitor.wants(directory, name) {
                let name = name.to_owned();
                match kind {
                    FileType::Directory => tasks.push(Task::Enter(Arc::clone(directory), name)),
                    _ => files.push((entry.ino(), Entry { name, kind })),
                }
            }
            // A small directory is read to its end at once.
            if listing.is_buffer_empty() && files.len() + tasks.len() >= LISTING_CHUNK {
                // Taken from the end: files of this directory, directories in it, then the rest of its names.
                tasks.insert(0, Task::List(Arc::clone(directory), position));
                break;
            }
        }
        // Inodes that lie together are read together.
        files.sort_unstable_by_key(|&(inode, _)| inode);
        let mut files = files.into_iter().map(|(_, entry)| entry);
        let own: Vec<_> = files.by_ref().take(V::BATCH).collect();
        while files.len() > 0 {
            tasks.push(Task::Entries(Arc::clone(directory), files.by_ref().take(V::BATCH).collect()));
        }
        self.add(directory, tasks);
        self.entries(directory, &open, own, worker)
    }

    /// Finishes one pending item of a directory, and leaves every directory that this completes.
    fn finish(&self, mut directory: Arc<Dir<V>>) -> Result<(), V::Error> {
        while directory.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.visitor.leave(self, &directory)?;
            let Some(parent) = directory.parent.clone() else { break };
            directory.close();
            directory = parent;
        }
        Ok(())
    }

    fn add(&self, directory: &Dir<V>, tasks: Vec<Task<V::Open, V::State>>) {
        directory.pending.fetch_add(tasks.len(), Ordering::AcqRel);
        self.queue.add(tasks);
    }

    /// Schedules a directory that was not listed as one.
    pub fn enter(&self, directory: &Arc<Dir<V>>, name: CString) {
        self.add(directory, vec![Task::Enter(Arc::clone(directory), name)]);
    }

    /// Schedules a deferred entry again, see [`Directory::defer_leave`].
    pub fn resume(&self, directory: Arc<Dir<V>>, entry: Entry) {
        self.queue.add([Task::Entries(directory, vec![entry])]);
    }

    /// Returns the descriptors of a directory and reopens closed ones; nothing if it is gone.
    pub fn open(&self, directory: &Arc<Dir<V>>) -> Result<Option<Arc<V::Open>>, V::Error> {
        // Only the last ones stay open: a way back up from far below needs them next.
        let kept = self.open.limit / 4;
        let open = self.reach(directory, |directory, below, open| {
            if below < kept {
                *directory.opened() = Some(Arc::clone(open));
                self.open.add(directory);
            }
        })?;
        if open.is_none() {
            self.visitor.on_vanished(directory);
        }
        Ok(open)
    }

    /// Returns the descriptors of a directory that may have been left already; keeps none open.
    pub fn visit(&self, directory: &Arc<Dir<V>>) -> Result<Option<Arc<V::Open>>, V::Error> {
        self.reach(directory, |_, _, _| ())
    }

    /// Opens what is closed on the way to a directory. `opened` gets each, with the number of those still to come.
    fn reach(
        &self,
        directory: &Arc<Dir<V>>,
        opened: impl Fn(&Arc<Dir<V>>, usize, &Arc<V::Open>),
    ) -> Result<Option<Arc<V::Open>>, V::Error> {
        let mut closed = vec![];
        let mut next = directory;
        let mut open = loop {
            if let Some(open) = next.opened().as_ref() {
                break Arc::clone(open);
            }
            closed.push(next);
            // The root is never closed.
            let Some(parent) = &next.parent else { return Ok(None) };
            next = parent;
        };
        while let Some(directory) = closed.pop() {
            let Some(again) = self.visitor.reopen(&open, directory)? else { return Ok(None) };
            if directory.closed().is_some_and(|closed| !closed.is_of(V::source(&again))) {
                return Ok(None);
            }
            open = Arc::new(again);
            opened(directory, closed.len(), &open);
        }
        Ok(Some(open))
    }
}

/// Keeps the number of open directories within the limit of the process (`RLIMIT_NOFILE`).
struct OpenDirectories<O, S> {
    limit: usize,
    source: fn(&O) -> BorrowedFd<'_>,
    oldest_first: Mutex<VecDeque<Weak<Directory<O, S>>>>,
}

impl<O, S> OpenDirectories<O, S> {
    fn new(descriptors: usize, spare: usize, source: fn(&O) -> BorrowedFd<'_>) -> Self {
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let allowed = usize::try_from(allowed).unwrap_or(1024);
        let limit = (allowed.saturating_sub(64) / descriptors).saturating_sub(spare).clamp(8, 512);
        Self { limit, source, oldest_first: Mutex::new(VecDeque::new()) }
    }

    /// Registers an open directory; closes the oldest one if there are too many.
    fn add(&self, directory: &Arc<Directory<O, S>>) {
        let oldest = {
            let mut queue = self.oldest_first.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(Arc::downgrade(directory));
            if queue.len() > self.limit { queue.pop_front() } else { None }
        };
        // The root stays open: everything else is reached from it.
        if let Some(oldest) = oldest.and_then(|weak| weak.upgrade()).filter(|oldest| oldest.parent.is_some())
        {
            let state = oldest.opened().as_ref().and_then(|open| ClosedState::of((self.source)(open)).ok());
            if state.is_some() {
                *oldest.closed() = state;
            }
            oldest.close();
        }
    }
}

struct CloseOnPanic<'a, T>(&'a Queue<T>);

impl<T> Drop for CloseOnPanic<'_, T> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}

#[cfg(test)]
mod tests;
