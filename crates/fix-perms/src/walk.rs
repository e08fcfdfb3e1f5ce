//! The walk over a tree: by descriptors, in parallel, without following a link or entering another mount.

use std::cell::OnceCell;
use std::ffi::{CStr, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;

use dirfd::FileType;
use dirfd::parallel::{self, Dir, Entered, Visitor};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::fstatat;

use crate::acl::Acl;
use crate::apply::Held;
use crate::batch::{self, Batch, Waiting};
use crate::change::{Change, ChangeKind};
use crate::entry::Entry;
use crate::names::Names;
use crate::rules::Rules;
use crate::tally::Tally;

const NAME: OFlag = OFlag::O_PATH.union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// One change to one entry, as it is made or would be.
#[derive(Debug)]
pub struct Step<'a> {
    /// The entry's path, as it was met.
    pub path: &'a Path,
    /// What is changed.
    pub change: &'a Change,
}

/// A function that gets each step; its error ends the walk.
pub type Tell<'a> = &'a (dyn Fn(&Step<'_>) -> io::Result<()> + Sync);

/// Walks the tree at `path`; with `dry_run` it decides everything and changes nothing.
pub fn walk<R: Rules>(
    rules: &R,
    path: &Path,
    top: OwnedFd,
    dry_run: bool,
    tell: Tell<'_>,
) -> io::Result<Tally> {
    kit::open_files::raise();
    let top = Arc::new(top);
    let walk = Walk {
        rules,
        root: path,
        keeps_acls: AtomicBool::new(Held::open(Arc::clone(&top)).keeps_acls()),
        dry_run,
        tell,
        names: Names::default(),
        tally: Mutex::default(),
        stopped: OnceLock::new(),
    };
    if walk.begin(&top) {
        let threads = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
        // Its only error is kept in `stopped`.
        let _ = parallel::walk(&walk, top, rules.top(), threads);
    }
    if let Some(error) = walk.stopped.into_inner() {
        return Err(error);
    }
    let mut tally = walk.tally.into_inner().unwrap_or_else(PoisonError::into_inner);
    tally.left += walk.names.left();
    Ok(tally)
}

struct Walk<'a, R: Rules> {
    rules: &'a R,
    root: &'a Path,
    /// True if the file system keeps ACLs and lets us set them, as far as its top has shown.
    keeps_acls: AtomicBool,
    dry_run: bool,
    tell: Tell<'a>,
    names: Names,
    tally: Mutex<Tally>,
    stopped: OnceLock<io::Error>,
}

/// The walk was stopped by an error of [`Tell`].
struct Stopped;

/// What one thread has for itself.
#[derive(Default)]
struct Worker {
    tally: Tally,
    batch: Batch,
    /// The file before was wrong: what is wrong comes in crowds.
    expects_wrong: bool,
}

impl<R: Rules> Visitor for Walk<'_, R> {
    type Open = OwnedFd;
    type State = R::Place;
    type Worker = Worker;
    type Error = Stopped;
    const DESCRIPTORS: usize = 1;
    const SPARE: usize = batch::SIZE + 2;

    fn source(open: &OwnedFd) -> BorrowedFd<'_> {
        open.as_fd()
    }

    fn before(&self) -> Result<(), Stopped> {
        if self.stopped.get().is_none() { Ok(()) } else { Err(Stopped) }
    }

    fn wants(&self, directory: &Dir<Self>, name: &CStr) -> bool {
        self.rules.below(**directory, name.to_bytes()).is_some()
    }

    fn enter(
        &self,
        _: &parallel::Walk<'_, Self>,
        parent: &Arc<Dir<Self>>,
        open: &OwnedFd,
        name: &CStr,
        worker: &mut Worker,
    ) -> Result<Entered<Self>, Stopped> {
        let Some(place) = self.rules.below(***parent, name.to_bytes()) else { return Ok(None) };
        let path = || self.path(parent, Some(name));
        let opened = dirfd::open_dir(open, name).and_then(|fd| {
            let fd = Arc::new(fd);
            let held = Held::open(Arc::clone(&fd));
            Ok((held.look()?, held, fd))
        });
        match opened {
            Ok((entry, held, fd)) => {
                worker.tally.entries += 1;
                self.make_right(worker, &held, name.to_bytes(), place, &entry, path);
                Ok(self.rules.enters(place, &entry).then_some((fd, place)))
            }
            Err(error) => {
                worker.trouble("read", path, &error.into());
                Ok(None)
            }
        }
    }

    fn entry(
        &self,
        walk: &parallel::Walk<'_, Self>,
        directory: &Arc<Dir<Self>>,
        open: &OwnedFd,
        entry: parallel::Entry,
        worker: &mut Worker,
    ) -> Result<(), Stopped> {
        if !matches!(entry.kind, FileType::RegularFile | FileType::Unknown) {
            worker.tally.entries += 1;
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
            self.tally().error("read", &self.path(directory, None), &error.into());
        }
        Ok(opened.ok())
    }

    // Entries that vanish meanwhile are no problem.
    fn gone(&self, _: &Dir<Self>) {}

    fn unlisted(&self, directory: &Dir<Self>, cause: Errno, worker: &mut Worker) -> Result<(), Stopped> {
        worker.trouble("read", || self.path(directory, None), &cause.into());
        Ok(())
    }

    fn end(&self, mut worker: Worker) -> Result<(), Stopped> {
        self.make_batch(&mut worker);
        self.tally().add(worker.tally);
        Ok(())
    }
}

impl<R: Rules> Walk<'_, R> {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn keeps_acls(&self) -> bool {
        self.keeps_acls.load(Ordering::Relaxed)
    }

    fn path(&self, directory: &Dir<Self>, name: Option<&CStr>) -> PathBuf {
        let mut path = self.root.join(directory.path());
        path.extend(name.map(|name| OsStr::from_bytes(name.to_bytes())));
        path
    }

    /// Corrects the tree's own directory; true if the walk is to enter it.
    fn begin(&self, top: &Arc<OwnedFd>) -> bool {
        let mut worker = Worker::default();
        if !self.keeps_acls() && R::WANTS_ACLS {
            let error = io::ErrorKind::Unsupported.into();
            worker.tally.error(ChangeKind::DefaultAcl.name(), self.root, &error);
        }
        let (place, held) = (self.rules.top(), Held::open(Arc::clone(top)));
        let enters = match held.look() {
            Ok(entry) => {
                worker.tally.entries += 1;
                self.make_right(&mut worker, &held, b"", place, &entry, || self.root.to_owned());
                self.make_batch(&mut worker);
                // What the top refuses, thousands of entries would refuse.
                if worker.tally.refused.contains_key(ChangeKind::DefaultAcl.name()) {
                    self.keeps_acls.store(false, Ordering::Relaxed);
                }
                self.rules.enters(place, &entry)
            }
            Err(error) => {
                worker.tally.error("read", self.root, &error.into());
                false
            }
        };
        self.tally().add(worker.tally);
        enters
    }

    /// Opens a regular file; what may not be opened, as in a dry run without root's rights, is named at least.
    fn hold(directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Held> {
        match dirfd::open_same_mount(directory, name, dirfd::READ) {
            Ok(fd) => Ok(Held::open(Arc::new(fd))),
            Err(_) => Ok(Held::named(dirfd::open_same_mount(directory, name, NAME)?)),
        }
    }

    /// Corrects an entry that is not known to be a directory; returns its type.
    fn file(
        &self,
        worker: &mut Worker,
        directory: &Dir<Self>,
        parent: BorrowedFd<'_>,
        listed: &parallel::Entry,
    ) -> Option<FileType> {
        let name = listed.name.as_c_str();
        let place = self.rules.below(**directory, name.to_bytes())?;
        let full = || self.path(directory, Some(name));
        let (entry, met) = match Self::meet(parent, listed, worker.expects_wrong) {
            Ok(met) => met,
            Err(error) => {
                worker.trouble("read", full, &error);
                return None;
            }
        };
        if entry.kind == FileType::Directory {
            return Some(entry.kind);
        }
        worker.tally.entries += 1;
        // Opened when it has to be: most files are right, and their modes alone say so.
        let is_held = met.is_some();
        let held = met.map_or_else(OnceCell::new, OnceCell::from);
        let read = |list| {
            self.read_acl(|| match held.get() {
                Some(held) => Held::acl(held, list),
                None => Self::hold(parent, name).and_then(|new| held.get_or_init(|| new).acl(list)),
            })
        };
        let judged = self.rules.judge(place, name.to_bytes(), &entry, &read);
        worker.expects_wrong = judged.as_ref().is_ok_and(|changes| !changes.is_empty());
        match judged {
            Ok(changes) if changes.is_empty() => {}
            Ok(_) if R::WANTS_ALL_NAMES && !self.names.are_all_met(entry.identity, entry.names) => {}
            Ok(changes) => {
                let held = held.into_inner().map_or_else(|| Self::hold(parent, name), Ok);
                let look = |held: Held| Ok((if is_held { entry } else { held.look()? }, held));
                match held.and_then(look) {
                    // The name may stand for another file by now, whose other names were not met.
                    Ok((again, _)) if again.identity != entry.identity => {}
                    Ok((again, held)) if again.runs() && held.has_capabilities() => worker.tally.left += 1,
                    Ok((again, held)) if again == entry => self.make(worker, &held, changes, full),
                    Ok((again, held)) => {
                        self.make_right(worker, &held, name.to_bytes(), place, &again, full);
                    }
                    Err(error) => worker.trouble("read", full, &error),
                }
            }
            Err(error) => worker.trouble("read", full, &error),
        }
        Some(entry.kind)
    }

    /// Looks at a file by its name, or through a descriptor if it will be changed as likely as the one before it: that takes
    /// one path less.
    fn meet(
        parent: BorrowedFd<'_>,
        listed: &parallel::Entry,
        expects_wrong: bool,
    ) -> io::Result<(Entry, Option<Held>)> {
        let name = listed.name.as_c_str();
        if expects_wrong
            && listed.kind == FileType::RegularFile
            && let Ok(held) = Self::hold(parent, name)
            && let Ok(entry) = held.look()
        {
            return Ok((entry, Some(held)));
        }
        Ok((Entry::from(&fstatat(parent, name, AtFlags::AT_SYMLINK_NOFOLLOW)?), None))
    }

    /// Judges what a descriptor holds, and makes the changes.
    fn make_right(
        &self,
        worker: &mut Worker,
        held: &Held,
        name: &[u8],
        place: R::Place,
        entry: &Entry,
        path: impl Fn() -> PathBuf,
    ) {
        let read = |list| self.read_acl(|| held.acl(list));
        match self.rules.judge(place, name, entry, &read) {
            Ok(changes) => self.make(worker, held, changes, path),
            Err(error) => worker.trouble("read", path, &error),
        }
    }

    /// Makes the changes to what a descriptor holds.
    fn make(&self, worker: &mut Worker, held: &Held, changes: Vec<Change>, path: impl Fn() -> PathBuf) {
        if changes.is_empty() {
            return;
        }
        let path = path();
        if self.dry_run {
            let shown = changes.iter().filter(|change| !change.is_acl() || self.keeps_acls());
            return shown.for_each(|change| self.made(&mut worker.tally, &path, change, Ok(())));
        }
        let attributes: Vec<_> = changes.iter().filter(|change| !change.is_acl()).collect();
        held.set_attributes(&attributes, |change, made| self.made(&mut worker.tally, &path, change, made));
        for change in changes {
            if change.is_acl()
                && self.keeps_acls()
                && worker.batch.add(Waiting { held: held.clone(), path: path.clone(), change })
            {
                self.make_batch(worker);
            }
        }
    }

    fn make_batch(&self, worker: &mut Worker) {
        let Worker { tally, batch, .. } = worker;
        batch.make(|Waiting { path, change, .. }, made| self.made(tally, path, change, made));
    }

    /// Counts a change and reports it.
    fn made(&self, tally: &mut Tally, path: &Path, change: &Change, made: io::Result<()>) {
        if let Err(error) = made {
            return tally.error(change.kind().name(), path, &error);
        }
        tally.change(change.kind());
        if self.stopped.get().is_none()
            && let Err(error) = (self.tell)(&Step { path, change })
        {
            // Only the first is of interest.
            let _ = self.stopped.set(error);
        }
    }

    fn read_acl(&self, read: impl FnOnce() -> io::Result<Option<Acl>>) -> io::Result<Option<Acl>> {
        if self.keeps_acls() { read() } else { Ok(None) }
    }
}

impl Worker {
    fn trouble(&mut self, what: &'static str, path: impl Fn() -> PathBuf, error: &io::Error) {
        if error.kind() == io::ErrorKind::CrossesDevices {
            self.tally.mounts += 1;
        } else {
            self.tally.error(what, &path(), error);
        }
    }
}
