//! Walks a tree with several threads and hands its entries to a [`Visitor`].

use std::ffi::{CStr, CString, OsStr, OsString};
use std::ops::Deref;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use dirfd::FileType;
use dirfd::parallel_walk::{self, Entered, Entry};
use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::sys::stat::fstat;

use crate::error::{Error, Result, SideError};
use crate::file_content::Buffer;
use crate::metadata::{Metadata, SourceEntry};
use crate::observer::{Counters, Note, NoteKind, Observer};
use crate::open_directories::{DirectoryState, OpenPair, TargetSide, WalkDirectory};
use crate::space_check;
use crate::tree_digest::TreeDigest;

/// Attempts to handle an entry that changes its type or vanishes meanwhile.
const LOOKS: u32 = 5;

/// Memory of one worker.
#[derive(Debug, Default)]
pub(crate) struct WorkerScratch {
    pub buffer: Buffer,
    pub sum: TreeDigest,
}

/// Handles the entries of a tree.
pub(crate) trait Visitor: Sync {
    /// Handles an entry that is not a directory; false if it must be read again.
    fn entry(
        &self,
        at: &EntryPlace<'_, '_>,
        source: Metadata,
        link_text: OsString,
        scratch: &mut WorkerScratch,
    ) -> Result<bool>;
    /// Enters a directory, before its entries; `source` is its metadata.
    fn enter(&self, at: &EntryPlace<'_, '_>, source: &Metadata) -> Result<TargetSide>;
    /// Leaves a directory, after everything below it.
    fn leave(&self, walk: &Walk, directory: &Arc<WalkDirectory>) -> Result<()>;
    /// Handles a mount point, whose content is skipped.
    fn mount(&self, _at: &EntryPlace<'_, '_>) -> Result<()> {
        Ok(())
    }
}

/// Place of an entry: one name in an open directory of both sides.
pub(crate) struct EntryPlace<'a, 't> {
    pub walk: &'a Walk<'a, 't>,
    pub directory: &'a Arc<WalkDirectory>,
    pub pair: &'a OpenPair,
    pub name: &'a CStr,
}

impl EntryPlace<'_, '_> {
    /// Adds the entry's path to an error.
    pub fn error(&self, action: &'static str, error: SideError) -> Error {
        match error {
            SideError::Source(cause) => {
                self.walk.source_error(action, self.directory, Some(self.name), cause)
            }
            SideError::Target(cause) => {
                self.walk.target_error(action, self.directory, Some(self.name), cause)
            }
            SideError::Stopped => Error::Stopped,
        }
    }

    /// The target's directory, if it has one.
    pub fn target(&self) -> Option<BorrowedFd<'_>> {
        self.pair.target.as_ref().map(AsFd::as_fd)
    }

    /// Returns the source's entry, to read its attributes.
    pub fn source_node(&self) -> Node<'static> {
        Node::named(self.pair.source.as_fd(), self.name)
    }
}

/// The roots of a walk.
pub(crate) struct Roots<'a> {
    pub source: &'a Path,
    pub target: Option<&'a Path>,
    pub keep: &'a [&'a OsStr],
}

/// The tree of a walk, its observer and its counters.
pub(crate) struct Tree<'a> {
    visitor: &'a dyn Visitor,
    roots: &'a Roots<'a>,
    pub observer: &'a dyn Observer,
    pub counters: Counters,
    sum: Mutex<TreeDigest>,
}

/// A walk under way.
#[derive(Clone, Copy)]
pub(crate) struct Walk<'w, 'a> {
    tree: &'w Tree<'a>,
    steps: &'w parallel_walk::Walk<'w, Tree<'a>>,
}

/// Walks everything below `root` and returns the digest; ends early with the first error.
pub(crate) fn walk(
    roots: &Roots<'_>,
    root: OpenPair,
    state: DirectoryState,
    threads: usize,
    visitor: &dyn Visitor,
    observer: &dyn Observer,
) -> Result<(TreeDigest, Counters)> {
    let tree = Tree { visitor, roots, observer, counters: Counters::default(), sum: Mutex::default() };
    parallel_walk::walk(&tree, Arc::new(root), state, threads)?;
    observer.on_progress(&tree.counters);
    Ok((tree.sum.into_inner().unwrap_or_else(PoisonError::into_inner), tree.counters))
}

impl parallel_walk::Visitor for Tree<'_> {
    type Open = OpenPair;
    type State = DirectoryState;
    type Worker = WorkerScratch;
    type Error = Error;
    const DESCRIPTORS_PER_DIRECTORY: usize = 2;
    const SPARE_DESCRIPTORS: usize = 4;

    fn source(open: &OpenPair) -> BorrowedFd<'_> {
        open.source.as_fd()
    }

    fn before_step(&self) -> Result<()> {
        self.check_stopped()
    }

    fn after_task(&self) {
        self.observer.on_progress(&self.counters);
    }

    fn wants(&self, directory: &WalkDirectory, name: &CStr) -> bool {
        !self.keeps(directory, name.to_bytes())
    }

    fn enter(
        &self,
        steps: &parallel_walk::Walk<'_, Self>,
        parent: &Arc<WalkDirectory>,
        pair: &OpenPair,
        name: &CStr,
        scratch: &mut WorkerScratch,
    ) -> Result<Entered<Self>> {
        let at = EntryPlace { walk: &Walk { tree: self, steps }, directory: parent, pair, name };
        let opened = dirfd::open_dir(&pair.source, name)
            .and_then(|source| Ok((Metadata::from(fstat(&source)?), source)));
        match opened {
            Ok((meta, source)) => {
                let side = self.visitor.enter(&at, &meta)?;
                scratch.sum.add_entry(&parent.path_hash, name, &meta, b"");
                self.counters.add(1, 0, 0);
                let state = DirectoryState::below(parent, name, meta, &side);
                return Ok(Some((Arc::new(OpenPair { source, target: side.directory }), state)));
            }
            // It was a directory when it was listed.
            Err(Errno::ENOENT) => self.vanished(parent, name),
            Err(cause) if dirfd::is_not_directory(cause) => self.visit_name(&at, scratch)?,
            Err(Errno::EXDEV) => {
                self.note(parent, name, NoteKind::SkippedMount);
                self.visitor.mount(&at)?;
            }
            Err(cause) => return Err(self.source_error("open", parent, Some(name), cause)),
        }
        Ok(None)
    }

    fn entry(
        &self,
        steps: &parallel_walk::Walk<'_, Self>,
        directory: &Arc<WalkDirectory>,
        pair: &OpenPair,
        entry: Entry,
        scratch: &mut WorkerScratch,
    ) -> Result<()> {
        let walk = Walk { tree: self, steps };
        self.visit_name(&EntryPlace { walk: &walk, directory, pair, name: &entry.name }, scratch)
    }

    fn reopen(&self, parent: &OpenPair, directory: &WalkDirectory) -> Result<Option<OpenPair>> {
        let name = directory.name.as_c_str();
        let source = match dirfd::open_dir(&parent.source, name) {
            Err(cause) if cause == Errno::EXDEV || dirfd::is_absent(cause) => return Ok(None),
            opened => opened.map_err(|cause| self.source_error("open", directory, None, cause))?,
        };
        let target = parent.target.as_ref().filter(|_| directory.has_target);
        let target = target.map(|parent| dirfd::open_dir(parent, name)).transpose();
        let target = target.map_err(|cause| self.target_error("open", directory, None, cause))?;
        Ok(Some(OpenPair { source, target }))
    }

    fn on_vanished(&self, directory: &WalkDirectory) {
        if let Some(parent) = &directory.parent {
            self.vanished(parent, &directory.name);
        }
        directory.may_be_stale.store(true, Ordering::Relaxed);
    }

    fn on_list_error(&self, directory: &WalkDirectory, cause: Errno, _: &mut WorkerScratch) -> Result<()> {
        // It was removed after it was opened; the names read so far are visited all the same.
        if self.note_if_gone(directory, cause) {
            return Ok(());
        }
        Err(self.source_error("list", directory, None, cause))
    }

    fn leave(&self, steps: &parallel_walk::Walk<'_, Self>, directory: &Arc<WalkDirectory>) -> Result<()> {
        self.visitor.leave(&Walk { tree: self, steps }, directory)
    }

    fn finish_worker(&self, scratch: WorkerScratch) -> Result<()> {
        self.sum.lock().unwrap_or_else(PoisonError::into_inner).add(&scratch.sum);
        Ok(())
    }
}

impl<'a> Deref for Walk<'_, 'a> {
    type Target = Tree<'a>;

    fn deref(&self) -> &Tree<'a> {
        self.tree
    }
}

impl Walk<'_, '_> {
    /// Schedules a deferred name again.
    pub fn resume(&self, directory: Arc<WalkDirectory>, name: CString) {
        self.steps.resume(directory, Entry { name, kind: FileType::Unknown });
    }

    /// Returns the directory's descriptors; nothing if the source's directory is gone.
    pub fn open_pair(&self, directory: &Arc<WalkDirectory>) -> Result<Option<Arc<OpenPair>>> {
        self.steps.open(directory)
    }

    /// Returns the descriptors of a directory that may have been left already; keeps none open.
    pub fn visit(&self, directory: &Arc<WalkDirectory>) -> Result<Option<Arc<OpenPair>>> {
        self.steps.visit(directory)
    }
}

impl Tree<'_> {
    /// Reads an entry and hands it to the visitor.
    fn visit_name(&self, at: &EntryPlace<'_, '_>, scratch: &mut WorkerScratch) -> Result<()> {
        for _ in 0..LOOKS {
            let source = SourceEntry::read(at.pair.source.as_fd(), at.name)
                .map_err(|cause| at.error("read", SideError::Source(cause)))?;
            match source {
                SourceEntry::Nothing => break,
                SourceEntry::Changed => {}
                SourceEntry::Directory => {
                    at.walk.steps.enter(at.directory, at.name.to_owned());
                    return Ok(());
                }
                SourceEntry::Entry(source, link_text) => {
                    if self.visitor.entry(at, source, link_text, scratch)? {
                        return Ok(());
                    }
                }
            }
        }
        self.vanished(at.directory, at.name);
        Ok(())
    }

    pub fn keeps(&self, directory: &WalkDirectory, name: &[u8]) -> bool {
        directory.parent.is_none() && self.roots.keep.iter().any(|kept| kept.as_bytes() == name)
    }

    /// Fails if the observer stops the pass.
    pub fn check_stopped(&self) -> Result<()> {
        if self.observer.stop() { Err(Error::Stopped) } else { Ok(()) }
    }

    /// True if this error means that an open directory of the source was removed, which is noted; false for the root.
    pub fn note_if_gone(&self, directory: &WalkDirectory, cause: Errno) -> bool {
        let is_gone = dirfd::is_absent(cause) && directory.parent.is_some();
        if is_gone {
            parallel_walk::Visitor::on_vanished(self, directory);
        }
        is_gone
    }

    pub fn vanished(&self, directory: &WalkDirectory, name: &CStr) {
        directory.may_be_stale.store(true, Ordering::Relaxed);
        self.counters.vanished.fetch_add(1, Ordering::Relaxed);
        self.note(directory, name, NoteKind::Vanished);
    }

    pub fn note(&self, directory: &WalkDirectory, name: &CStr, what: NoteKind) {
        self.observer.on_note(Note { path: entry_path(&directory.path(), Some(name)), what });
    }

    pub fn source_error(
        &self,
        action: &'static str,
        directory: &WalkDirectory,
        name: Option<&CStr>,
        cause: Errno,
    ) -> Error {
        Error::source(action, &entry_path(&self.roots.source.join(directory.path()), name), cause)
    }

    pub fn target_error(
        &self,
        action: &'static str,
        directory: &WalkDirectory,
        name: Option<&CStr>,
        cause: Errno,
    ) -> Error {
        let root = self.roots.target.unwrap_or(self.roots.source);
        Error::target(action, &entry_path(&root.join(directory.path()), name), cause, || {
            space_check::free_space(root).ok()
        })
    }
}

fn entry_path(directory: &Path, name: Option<&CStr>) -> PathBuf {
    match name {
        Some(name) => directory.join(OsStr::from_bytes(name.to_bytes())),
        None => directory.to_owned(),
    }
}
