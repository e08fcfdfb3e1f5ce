//! Walks a tree with several threads; what happens to its entries is the [`Visitor`]'s business.

use std::ffi::{CString, OsStr};
use std::mem::MaybeUninit;
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;

use dirfd::FileType;
use nix::errno::Errno;
use nix::sys::stat::fstat;
use nix::unistd::{Whence, lseek};
use rustix::fs::RawDir;

use crate::content::Buffer;
use crate::digest::{self, Sum};
use crate::error::{Error, Result};
use crate::folder::{Folder, Lost, OpenFolders, Pair, TargetSide};
use crate::meta::Meta;
use crate::observer::{Counters, Note, Observer, What};
use crate::space_check;

/// Names that one task handles: enough to be worth handing over, few enough to share a directory among workers.
const BATCH: usize = 32;

/// Names after which a listing waits until these are done.
const LISTED: usize = 512;

/// One step of the walk.
#[derive(Debug)]
pub(crate) enum Task {
    /// Read some names of a folder, from this position on.
    List(Arc<Folder>, u64),
    /// Go into a directory of a folder.
    Enter(Arc<Folder>, CString),
    /// Handle entries of a folder that are no directories.
    Entries(Arc<Folder>, Vec<CString>),
}

/// What one worker has for itself.
#[derive(Debug, Default)]
pub(crate) struct Hand {
    pub buffer: Buffer,
    pub sum: Sum,
}

/// What happens to the entries of a tree.
pub(crate) trait Visitor: Sync {
    /// An entry; one that turns out to be a directory is handed back with [`Walk::enter`].
    fn entry(
        &self,
        walk: &Walk,
        folder: &Arc<Folder>,
        pair: &Pair,
        name: CString,
        hand: &mut Hand,
    ) -> Result<()>;
    /// A directory, before its entries. `source` says what it is.
    fn enter(
        &self,
        walk: &Walk,
        parent: &Folder,
        pair: &Pair,
        name: &CString,
        source: &Meta,
    ) -> Result<TargetSide>;
    /// A directory, after everything below it.
    fn leave(&self, walk: &Walk, folder: &Arc<Folder>) -> Result<()>;
    /// A directory of another file system, whose content is left out.
    fn mount(&self, walk: &Walk, folder: &Folder, pair: &Pair, name: &CString) -> Result<()>;
}

/// A walk under way.
pub(crate) struct Walk<'a> {
    queue: crate::queue::Queue<Task>,
    pub open: OpenFolders,
    pub observer: &'a dyn Observer,
    pub counters: Counters,
    keep: &'a [&'a OsStr],
    source: &'a Path,
    target: Option<&'a Path>,
    failure: Mutex<Option<Error>>,
    sum: Mutex<Sum>,
}

/// What is walked.
pub(crate) struct Roots<'a> {
    pub source: &'a Path,
    pub target: Option<&'a Path>,
    pub keep: &'a [&'a OsStr],
}

impl<'a> Walk<'a> {
    /// Walks everything below `root` and returns the digest; ends early with the first error.
    pub fn run(
        roots: &Roots<'a>,
        root: Arc<Folder>,
        threads: usize,
        visitor: &dyn Visitor,
        observer: &'a dyn Observer,
    ) -> Result<(Sum, Counters)> {
        let threads = threads.max(1);
        let open = OpenFolders::new(threads);
        let walk = Walk {
            queue: crate::queue::Queue::new(Task::List(root, 0)),
            open,
            observer,
            counters: Counters::default(),
            keep: roots.keep,
            source: roots.source,
            target: roots.target,
            failure: Mutex::new(None),
            sum: Mutex::new(Sum::default()),
        };
        thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| walk.work(visitor));
            }
        });
        observer.counted(&walk.counters);
        match walk.failure.into_inner().unwrap_or_else(PoisonError::into_inner) {
            Some(error) => Err(error),
            None => Ok((walk.sum.into_inner().unwrap_or_else(PoisonError::into_inner), walk.counters)),
        }
    }

    fn work(&self, visitor: &dyn Visitor) {
        // A worker that panics must not leave the others waiting for it.
        let _closer = CloseOnPanic(&self.queue);
        let mut hand = Hand::default();
        while let Some(task) = self.queue.take() {
            if let Err(error) = self.step(task, visitor, &mut hand) {
                self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
                self.queue.close();
            }
            self.observer.counted(&self.counters);
            self.queue.done();
        }
        self.sum.lock().unwrap_or_else(PoisonError::into_inner).add(&hand.sum);
    }

    fn step(&self, task: Task, visitor: &dyn Visitor, hand: &mut Hand) -> Result<()> {
        self.go_on()?;
        match task {
            Task::List(folder, position) => {
                self.list(&folder, position, visitor, hand)?;
                self.finish(folder, visitor)
            }
            Task::Enter(parent, name) => self.step_into(parent, name, visitor, hand),
            Task::Entries(folder, names) => {
                if let Some(pair) = self.pair(&folder)? {
                    self.entries(&folder, &pair, names, visitor, hand)?;
                }
                self.finish(folder, visitor)
            }
        }
    }

    fn entries(
        &self,
        folder: &Arc<Folder>,
        pair: &Pair,
        names: Vec<CString>,
        visitor: &dyn Visitor,
        hand: &mut Hand,
    ) -> Result<()> {
        for name in names {
            self.go_on()?;
            visitor.entry(self, folder, pair, name, hand)?;
        }
        Ok(())
    }

    /// Reads one buffer of names. Not all at once: a directory may have a million.
    fn list(
        &self,
        folder: &Arc<Folder>,
        position: u64,
        visitor: &dyn Visitor,
        hand: &mut Hand,
    ) -> Result<()> {
        let Some(pair) = self.pair(folder)? else { return Ok(()) };
        let unreadable = |cause| self.source_error("list", folder, None, cause);
        if position > 0 {
            // The descriptor may be a new one, see OpenFolders.
            lseek(&pair.source, position.cast_signed(), Whence::SeekSet).map_err(unreadable)?;
        }
        let (mut files, mut directories) = (vec![], vec![]);
        let mut more = None;
        let mut space = [MaybeUninit::uninit(); 16 * 1024];
        let mut listing = RawDir::new(pair.source.as_fd(), &mut space);
        while let Some(entry) = listing.next() {
            let entry = match entry.map_err(|cause| Errno::from_raw(cause.raw_os_error())) {
                // It was removed after it was opened; the names that were read are looked for all the same.
                Err(cause) if self.has_gone(folder, cause) => break,
                entry => entry.map_err(unreadable)?,
            };
            let (name, kind, inode) = (entry.file_name(), entry.file_type(), entry.ino());
            let position = entry.next_entry_cookie();
            if name != c"." && name != c".." && !self.keeps(folder, name.to_bytes()) {
                if kind == FileType::Directory {
                    directories.push(name.to_owned());
                } else {
                    files.push((inode, name.to_owned()));
                }
            }
            // A small directory is read to its end at once.
            if listing.is_buffer_empty() && files.len() + directories.len() >= LISTED {
                more = Some(position);
                break;
            }
        }
        // Inodes that lie together are read together.
        files.sort_unstable_by_key(|&(inode, _)| inode);
        let mut files = files.into_iter().map(|(_, name)| name);
        let mut tasks = vec![];
        // Taken from the end: this folder's files, its directories, then the rest of its names.
        tasks.extend(more.map(|position| Task::List(Arc::clone(folder), position)));
        tasks.extend(directories.into_iter().map(|name| Task::Enter(Arc::clone(folder), name)));
        let own: Vec<_> = files.by_ref().take(BATCH).collect();
        while files.len() > 0 {
            tasks.push(Task::Entries(Arc::clone(folder), files.by_ref().take(BATCH).collect()));
        }
        self.add(folder, tasks);
        self.entries(folder, &pair, own, visitor, hand)
    }

    fn step_into(
        &self,
        parent: Arc<Folder>,
        name: CString,
        visitor: &dyn Visitor,
        hand: &mut Hand,
    ) -> Result<()> {
        let Some(pair) = self.pair(&parent)? else { return self.finish(parent, visitor) };
        let opened = dirfd::open_dir(&pair.source, name.as_c_str())
            .and_then(|source| Ok((Meta::from(fstat(&source)?), source)));
        match opened {
            Ok((meta, source)) => {
                let side = visitor.enter(self, &parent, &pair, &name, &meta)?;
                hand.sum.add_entry(&parent.place, &name, &meta, b"");
                self.counters.add(1, 0, 0);
                let place = digest::place(&parent.place, &name);
                // The parent's task goes on as the child's existence.
                let folder = Folder::new(Some(parent), name, place, meta, source, side);
                self.open.add(&folder);
                self.list(&folder, 0, visitor, hand)?;
                return self.finish(folder, visitor);
            }
            // It was a directory when it was listed.
            Err(Errno::ENOENT) => self.vanished(&parent, &name),
            Err(Errno::ENOTDIR | Errno::ELOOP) => visitor.entry(self, &parent, &pair, name, hand)?,
            Err(Errno::EXDEV) => {
                self.note(&parent, &name, What::SkippedMount);
                visitor.mount(self, &parent, &pair, &name)?;
            }
            Err(cause) => return Err(self.source_error("open", &parent, Some(&name), cause)),
        }
        self.finish(parent, visitor)
    }

    /// One task or subfolder of `folder` is done; leaves every folder that this completes.
    fn finish(&self, mut folder: Arc<Folder>, visitor: &dyn Visitor) -> Result<()> {
        while folder.pending.fetch_sub(1, Ordering::AcqRel) == 1 {
            visitor.leave(self, &folder)?;
            let Some(parent) = folder.parent.clone() else { break };
            folder.close();
            folder = parent;
        }
        Ok(())
    }

    /// Adds tasks that belong to `folder`.
    pub fn add(&self, folder: &Folder, tasks: Vec<Task>) {
        folder.pending.fetch_add(tasks.len(), Ordering::AcqRel);
        self.queue.add(tasks);
    }

    /// Adds a task whose folder has been waiting for it, see [`Folder::pending`].
    pub fn resume(&self, task: Task) {
        self.queue.add([task]);
    }

    /// The entry is a directory, after all.
    pub fn enter(&self, folder: &Arc<Folder>, name: CString) {
        self.add(folder, vec![Task::Enter(Arc::clone(folder), name)]);
    }

    /// The folder's descriptors; `None` if the source's directory is gone.
    pub fn pair(&self, folder: &Arc<Folder>) -> Result<Option<Arc<Pair>>> {
        match self.open.pair(folder) {
            Ok(pair) => Ok(Some(pair)),
            Err(Lost::Source(cause)) if cause == Errno::EXDEV || dirfd::is_absent(cause) => {
                self.gone(folder);
                Ok(None)
            }
            Err(lost) => Err(self.lost(folder, lost)),
        }
    }

    /// The error for a directory that could not be opened again.
    pub fn lost(&self, folder: &Folder, lost: Lost) -> Error {
        match lost {
            Lost::Source(cause) => self.source_error("open", folder, None, cause),
            Lost::Target(cause) => self.target_error("open", folder, None, cause),
        }
    }

    pub fn keeps(&self, folder: &Folder, name: &[u8]) -> bool {
        folder.parent.is_none() && self.keep.iter().any(|kept| kept.as_bytes() == name)
    }

    /// Fails if the observer wants an end.
    pub fn go_on(&self) -> Result<()> {
        if self.observer.stop() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// True if this error means that an open directory of the source was removed; of the root, it stays an error.
    pub fn has_gone(&self, folder: &Folder, cause: Errno) -> bool {
        let has_gone = dirfd::is_absent(cause) && folder.parent.is_some();
        if has_gone {
            self.gone(folder);
        }
        has_gone
    }

    fn gone(&self, folder: &Folder) {
        if let Some(parent) = &folder.parent {
            self.vanished(parent, &folder.name);
        }
        folder.unsure.store(true, Ordering::Relaxed);
    }

    pub fn vanished(&self, folder: &Folder, name: &std::ffi::CStr) {
        folder.unsure.store(true, Ordering::Relaxed);
        self.counters.vanished.fetch_add(1, Ordering::Relaxed);
        self.note(folder, name, What::Vanished);
    }

    pub fn note(&self, folder: &Folder, name: &std::ffi::CStr, what: What) {
        self.observer.noted(Note { path: entry_path(&folder.path(), Some(name)), what });
    }

    pub fn source_error(
        &self,
        action: &'static str,
        folder: &Folder,
        name: Option<&std::ffi::CStr>,
        cause: Errno,
    ) -> Error {
        Error::source(action, &entry_path(&self.source.join(folder.path()), name), cause)
    }

    pub fn target_error(
        &self,
        action: &'static str,
        folder: &Folder,
        name: Option<&std::ffi::CStr>,
        cause: Errno,
    ) -> Error {
        let root = self.target.unwrap_or(self.source);
        Error::target(action, &entry_path(&root.join(folder.path()), name), cause, || {
            space_check::free_space(root).ok()
        })
    }
}

fn entry_path(folder: &Path, name: Option<&std::ffi::CStr>) -> PathBuf {
    match name {
        Some(name) => folder.join(OsStr::from_bytes(name.to_bytes())),
        None => folder.to_owned(),
    }
}

struct CloseOnPanic<'a>(&'a crate::queue::Queue<Task>);

impl Drop for CloseOnPanic<'_> {
    fn drop(&mut self) {
        if thread::panicking() {
            self.0.close();
        }
    }
}
