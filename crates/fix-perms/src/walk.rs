//! The walk over a tree: by descriptors, in parallel, without following a link or entering another mount.
//!
//! Each directory is opened below its parent's descriptor, so nobody can lead the walk elsewhere by moving things about.

use std::cell::OnceCell;
use std::ffi::{CStr, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};
use std::thread;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, RawDir, ResolveFlags, openat, openat2, statat};
use rustix::io::Errno;

use crate::acl::Acl;
use crate::apply::Held;
use crate::batch::{Batch, Waiting};
use crate::change::{Change, ChangeKind};
use crate::entry::{Entry, Kind};
use crate::names::Names;
use crate::queue::{Directory, Files, Queue, Work};
use crate::rules::Rules;
use crate::tally::Tally;

/// As much of a directory as the kernel hands out at once, in bytes; getdents64 of the C library asks for as much.
const LISTING: usize = 32 << 10;
const ENTER: OFlags = OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
// Without waiting, should it have become a pipe.
const READ: OFlags = OFlags::RDONLY
    .union(OFlags::NOFOLLOW)
    .union(OFlags::NONBLOCK)
    .union(OFlags::NOCTTY)
    .union(OFlags::CLOEXEC);
const NAME: OFlags = OFlags::PATH.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// How many files are left to a worker that waits.
const SHARE: usize = 128;

/// One change to one entry, as it is made or would be.
#[derive(Debug)]
pub struct Step<'a> {
    /// The entry's path, as it was met.
    pub path: &'a Path,
    /// What is changed.
    pub change: &'a Change,
}

/// What is told about each step; an error ends the walk.
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
    let held = Held::open(Arc::clone(&top));
    let here = openat2(&top, c".", ENTER, Mode::empty(), ResolveFlags::NO_XDEV);
    let walk = Walk {
        rules,
        device: held.look()?.identity.0,
        // Too old a kernel, or a filter of system calls that does not know it.
        knows_mounts: !matches!(here, Err(Errno::NOSYS | Errno::PERM)),
        keeps_acls: AtomicBool::new(held.keeps_acls()),
        dry_run,
        tell,
        queue: Queue::default(),
        names: Names::default(),
        stopped: OnceLock::new(),
    };
    let mut tally = Worker::new(&walk).begin(&top, path);
    let workers = thread::available_parallelism().map_or(2, usize::from).clamp(2, 8);
    thread::scope(|scope| {
        // Where no thread can be had, fewer have to do.
        let more = || thread::Builder::new().spawn_scoped(scope, || Worker::new(&walk).work()).ok();
        let started: Vec<_> = (1..workers).filter_map(|_| more()).collect();
        tally.add(Worker::new(&walk).work());
        // A worker that panicked would have aborted a release; a test sees it here.
        started.into_iter().for_each(|worker| tally.add(worker.join().unwrap_or_default()));
    });
    match walk.stopped.into_inner() {
        Some(error) => Err(error),
        None => {
            tally.left += walk.names.left();
            Ok(tally)
        }
    }
}

struct Walk<'a, R: Rules> {
    rules: &'a R,
    device: u64,
    knows_mounts: bool,
    /// Whether the file system keeps ACLs and lets us set them, as far as its top has shown.
    keeps_acls: AtomicBool,
    dry_run: bool,
    tell: Tell<'a>,
    queue: Queue<R::Place>,
    names: Names,
    stopped: OnceLock<io::Error>,
}

impl<R: Rules> Walk<'_, R> {
    fn keeps_acls(&self) -> bool {
        self.keeps_acls.load(Ordering::Relaxed)
    }

    /// Opens an entry of a directory unless it is a mount point: `CrossesDevices`, here or from [`Walk::look`].
    fn open(&self, directory: BorrowedFd<'_>, name: &CStr, how: OFlags) -> rustix::io::Result<OwnedFd> {
        if self.knows_mounts {
            openat2(directory, name, how, Mode::empty(), ResolveFlags::NO_XDEV)
        } else {
            openat(directory, name, how, Mode::empty())
        }
    }

    /// Opens a regular file; what may not be opened, as in a dry run without root's rights, is named at least.
    fn hold(&self, directory: BorrowedFd<'_>, name: &CStr) -> io::Result<Held> {
        match self.open(directory, name, READ) {
            Ok(fd) => Ok(Held::open(Arc::new(fd))),
            Err(_) => Ok(Held::named(self.open(directory, name, NAME)?)),
        }
    }

    fn look(&self, held: &Held) -> io::Result<Entry> {
        let entry = held.look()?;
        if entry.identity.0 == self.device || self.knows_mounts {
            Ok(entry)
        } else {
            Err(io::ErrorKind::CrossesDevices.into())
        }
    }
}

struct Worker<'a, R: Rules> {
    walk: &'a Walk<'a, R>,
    tally: Tally,
    listing: Vec<MaybeUninit<u8>>,
    batch: Batch,
    /// Whether the file before was wrong: what is wrong comes in crowds.
    expects_wrong: bool,
}

/// An entry as its directory lists it.
#[derive(Clone, Copy)]
struct Named<'a, P> {
    name: &'a CStr,
    kind: FileType,
    place: P,
}

impl<'a, R: Rules> Worker<'a, R> {
    fn new(walk: &'a Walk<'a, R>) -> Self {
        Self {
            walk,
            tally: Tally::default(),
            listing: vec![MaybeUninit::uninit(); LISTING],
            batch: Batch::default(),
            expects_wrong: false,
        }
    }

    /// Deals with the tree's own directory.
    fn begin(mut self, top: &Arc<OwnedFd>, path: &Path) -> Tally {
        if !self.walk.keeps_acls() && R::WANTS_ACLS {
            let error = io::ErrorKind::Unsupported.into();
            self.tally.error(ChangeKind::DefaultAcl.name(), path, &error);
        }
        let (place, held) = (self.walk.rules.top(), Held::open(Arc::clone(top)));
        match held.look() {
            Ok(entry) => {
                self.tally.entries += 1;
                self.make_right(&held, b"", place, &entry, || path.to_owned());
                self.make_batch();
                // What the top refuses, thousands of entries would refuse.
                if self.tally.refused.contains_key(ChangeKind::DefaultAcl.name()) {
                    self.walk.keeps_acls.store(false, Ordering::Relaxed);
                }
                self.enter(top, path, place, &entry);
            }
            Err(error) => self.tally.error("read", path, &error.into()),
        }
        self.make_batch();
        self.tally
    }

    fn work(mut self) -> Tally {
        while let Some(work) = self.walk.queue.next() {
            match work {
                Work::Directory(directory) => self.directory(directory),
                Work::Files(files) => self.files(&files),
            }
            self.walk.queue.done();
        }
        self.make_batch();
        self.tally
    }

    fn directory(&mut self, Directory { parent, name, path, place }: Directory<R::Place>) {
        let opened = self.walk.open(parent.as_fd(), &name, ENTER).map_err(io::Error::from).and_then(|fd| {
            let fd = Arc::new(fd);
            let held = Held::open(Arc::clone(&fd));
            Ok((self.walk.look(&held)?, held, fd))
        });
        // Gone before the subdirectories come, so that a chain of single ones costs one descriptor.
        drop(parent);
        match opened {
            Ok((entry, held, fd)) => {
                self.tally.entries += 1;
                self.make_right(&held, name.as_bytes(), place, &entry, || path.clone());
                self.enter(&fd, &path, place, &entry);
            }
            Err(error) => self.trouble("read", &path, &error),
        }
    }

    fn files(&mut self, Files { parent, path, names }: &Files<R::Place>) {
        let mut found = Vec::new();
        for (name, kind, place) in names {
            let named = Named { name, kind: *kind, place: *place };
            if self.file(parent.as_fd(), named, path) == Some(Kind::Directory) {
                found.push(Work::Directory(Directory::new(parent, name, path, *place)));
            }
        }
        self.walk.queue.add(&mut found);
    }

    fn enter(&mut self, fd: &Arc<OwnedFd>, path: &Path, place: R::Place, entry: &Entry) {
        if self.walk.rules.enters(place, entry)
            && let Err(error) = self.list(fd, path, place)
        {
            self.trouble("read", path, &error);
        }
    }

    fn list(&mut self, fd: &Arc<OwnedFd>, path: &Path, place: R::Place) -> io::Result<()> {
        let mut listing = std::mem::take(&mut self.listing);
        let mut found = Vec::new();
        let mut left = Vec::new();
        let leave = |names: &mut Vec<_>| {
            let files = Files { parent: Arc::clone(fd), path: path.to_owned(), names: std::mem::take(names) };
            self.walk.queue.add(&mut vec![Work::Files(files)]);
        };
        let mut entries = RawDir::new(fd.as_fd(), &mut listing);
        let mut read = Ok(());
        while let Some(entry) = entries.next() {
            let entry = match entry {
                Ok(entry) => entry,
                Err(error) => {
                    read = Err(error.into());
                    break;
                }
            };
            let (name, kind) = (entry.file_name(), entry.file_type());
            if matches!(name.to_bytes(), b"." | b"..") {
                continue;
            }
            let Some(place) = self.walk.rules.below(place, name.to_bytes()) else { continue };
            match kind {
                FileType::RegularFile | FileType::Unknown if self.walk.queue.is_short() => {
                    left.push((name.to_owned(), kind, place));
                    if left.len() == SHARE {
                        leave(&mut left);
                    }
                }
                FileType::RegularFile | FileType::Unknown => {
                    if self.file(fd.as_fd(), Named { name, kind, place }, path) == Some(Kind::Directory) {
                        found.push(Work::Directory(Directory::new(fd, name, path, place)));
                    }
                }
                FileType::Directory => {
                    found.push(Work::Directory(Directory::new(fd, name, path, place)));
                }
                _ => self.tally.entries += 1,
            }
        }
        self.listing = listing;
        if !left.is_empty() {
            leave(&mut left);
        }
        self.walk.queue.add(&mut found);
        read
    }

    /// Deals with an entry that is not known to be a directory; returns what it is.
    fn file(
        &mut self,
        parent: BorrowedFd<'_>,
        Named { name, kind, place }: Named<'_, R::Place>,
        path: &Path,
    ) -> Option<Kind> {
        let full = || path.join(OsStr::from_bytes(name.to_bytes()));
        let (entry, met) = match self.meet(parent, name, kind) {
            Ok(met) => met,
            Err(error) => {
                self.trouble("read", &full(), &error);
                return None;
            }
        };
        if entry.kind == Kind::Directory {
            return Some(entry.kind);
        }
        self.tally.entries += 1;
        // Opened when it has to be: most files are right, and their modes alone say so.
        let is_held = met.is_some();
        let held = met.map_or_else(OnceCell::new, OnceCell::from);
        let read = |list| {
            self.read_acl(|| match held.get() {
                Some(held) => Held::acl(held, list),
                None => self.walk.hold(parent, name).and_then(|new| held.get_or_init(|| new).acl(list)),
            })
        };
        let judged = self.walk.rules.judge(place, name.to_bytes(), &entry, &read);
        self.expects_wrong = judged.as_ref().is_ok_and(|changes| !changes.is_empty());
        match judged {
            Ok(changes) if changes.is_empty() => {}
            Ok(_) if R::WANTS_ALL_NAMES && !self.walk.names.are_all_met(entry.identity, entry.names) => {}
            Ok(changes) => {
                let held = held.into_inner().map_or_else(|| self.walk.hold(parent, name), Ok);
                let look = |held| Ok((if is_held { entry } else { self.walk.look(&held)? }, held));
                match held.and_then(look) {
                    // The name may stand for another file by now, whose other names nobody has met.
                    Ok((again, _)) if again.identity != entry.identity => {}
                    Ok((again, held)) if again.runs() && held.has_capabilities() => self.tally.left += 1,
                    Ok((again, held)) if again == entry => self.make(&held, changes, full),
                    Ok((again, held)) => self.make_right(&held, name.to_bytes(), place, &again, full),
                    Err(error) => self.trouble("read", &full(), &error),
                }
            }
            Err(error) => self.trouble("read", &full(), &error),
        }
        Some(entry.kind)
    }

    /// Looks at a file by its name, or through a descriptor if it will be changed as likely as the one before it: that takes
    /// one path less.
    fn meet(&self, parent: BorrowedFd<'_>, name: &CStr, kind: FileType) -> io::Result<(Entry, Option<Held>)> {
        if self.expects_wrong
            && kind == FileType::RegularFile
            && let Ok(held) = self.walk.hold(parent, name)
            && let Ok(entry) = self.walk.look(&held)
        {
            return Ok((entry, Some(held)));
        }
        Ok((Entry::from(&statat(parent, name, AtFlags::SYMLINK_NOFOLLOW)?), None))
    }

    /// Judges what a descriptor holds, and makes the changes.
    fn make_right(
        &mut self,
        held: &Held,
        name: &[u8],
        place: R::Place,
        entry: &Entry,
        path: impl Fn() -> PathBuf,
    ) {
        let read = |list| self.read_acl(|| held.acl(list));
        let judged = self.walk.rules.judge(place, name, entry, &read);
        match judged {
            Ok(changes) => self.make(held, changes, path),
            Err(error) => self.trouble("read", &path(), &error),
        }
    }

    /// Makes the changes to what a descriptor holds.
    fn make(&mut self, held: &Held, changes: Vec<Change>, path: impl Fn() -> PathBuf) {
        if changes.is_empty() {
            return;
        }
        let path = path();
        if self.walk.dry_run {
            let told = |change: &&Change| !change.is_acl() || self.walk.keeps_acls();
            let told: Vec<_> = changes.iter().filter(told).collect();
            return told.into_iter().for_each(|change| self.made(&path, change, Ok(())));
        }
        let attributes: Vec<_> = changes.iter().filter(|change| !change.is_acl()).collect();
        held.set_attributes(&attributes, |change, made| self.made(&path, change, made));
        for change in changes {
            if change.is_acl()
                && self.walk.keeps_acls()
                && self.batch.add(Waiting { held: held.clone(), path: path.clone(), change })
            {
                self.make_batch();
            }
        }
    }

    fn make_batch(&mut self) {
        let mut batch = std::mem::take(&mut self.batch);
        batch.make(|Waiting { path, change, .. }, made| self.made(path, change, made));
    }

    /// Counts a change and tells about it.
    fn made(&mut self, path: &Path, change: &Change, made: io::Result<()>) {
        if let Err(error) = made {
            return self.tally.error(change.kind().name(), path, &error);
        }
        self.tally.change(change.kind());
        if self.walk.stopped.get().is_none()
            && let Err(error) = (self.walk.tell)(&Step { path, change })
        {
            // Only the first is of interest.
            let _ = self.walk.stopped.set(error);
            self.walk.queue.stop();
        }
    }

    fn read_acl(&self, read: impl FnOnce() -> io::Result<Option<Acl>>) -> io::Result<Option<Acl>> {
        if self.walk.keeps_acls() { read() } else { Ok(None) }
    }

    fn trouble(&mut self, what: &'static str, path: &Path, error: &io::Error) {
        if error.kind() == io::ErrorKind::CrossesDevices {
            self.tally.mounts += 1;
        } else {
            self.tally.error(what, path, error);
        }
    }
}
