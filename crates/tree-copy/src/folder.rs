//! A directory on both sides while it is worked on, reached by descriptors and never by a path.

use std::collections::VecDeque;
use std::ffi::{CString, OsStr};
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use nix::errno::Errno;
use nix::sys::resource::{Resource, getrlimit};

use crate::digest::Place;
use crate::meta::Meta;

/// The open descriptors of a folder.
#[derive(Debug)]
pub(crate) struct Pair {
    pub source: OwnedFd,
    /// None while only one tree is read, or where the target lacks this directory and may not be changed.
    pub target: Option<OwnedFd>,
}

/// One directory, from its listing until everything below it is done.
#[derive(Debug)]
pub(crate) struct Folder {
    pub parent: Option<Arc<Folder>>,
    pub name: CString,
    pub place: Place,
    /// Bytes of the path from the root.
    pub path_length: usize,
    /// What the source said when the folder was entered.
    pub meta: Meta,
    pub has_target: bool,
    /// The target's directory was made by this pass: nothing can be there that nobody made.
    pub fresh: bool,
    /// New files there have the owner and mode they are made with: no inherited list or group.
    pub plain: bool,
    /// What the target's directory was before anything in it was touched.
    pub before: Option<Meta>,
    /// Tasks and subfolders that are not done; who brings it to zero leaves the folder.
    pub pending: AtomicUsize,
    /// Entries of the source that the target has, too.
    pub shared: AtomicU64,
    /// An entry went away or something else made `shared` meaningless.
    pub unsure: AtomicBool,
    opened: Mutex<Option<Arc<Pair>>>,
}

/// The target's side of a directory when it is entered.
#[derive(Debug, Default)]
pub(crate) struct TargetSide {
    pub directory: Option<OwnedFd>,
    pub fresh: bool,
    pub plain: bool,
    pub before: Option<Meta>,
}

/// Which side could not be opened again.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lost {
    Source(Errno),
    Target(Errno),
}

impl Folder {
    /// The root of both trees.
    pub fn root(meta: Meta, source: OwnedFd, target: Option<OwnedFd>, before: Option<Meta>) -> Arc<Self> {
        let side = TargetSide { directory: target, fresh: false, plain: false, before };
        Self::new(None, CString::default(), crate::digest::ROOT, meta, source, side)
    }

    /// A folder that was just opened; it has one task, the one that lists it.
    pub fn new(
        parent: Option<Arc<Self>>,
        name: CString,
        place: Place,
        meta: Meta,
        source: OwnedFd,
        side: TargetSide,
    ) -> Arc<Self> {
        let above = parent.as_ref().map_or(0, |parent| parent.path_length);
        let path_length = above + usize::from(above > 0) + name.count_bytes();
        Arc::new(Self {
            parent,
            name,
            place,
            path_length,
            meta,
            has_target: side.directory.is_some(),
            fresh: side.fresh,
            plain: side.plain,
            before: side.before,
            pending: AtomicUsize::new(1),
            shared: AtomicU64::new(0),
            unsure: AtomicBool::new(false),
            opened: Mutex::new(Some(Arc::new(Pair { source, target: side.directory }))),
        })
    }

    /// The path below the root, for messages.
    pub fn path(&self) -> PathBuf {
        let mut names = vec![];
        let mut next = Some(self);
        while let Some(folder) = next {
            if folder.parent.is_some() {
                names.push(OsStr::from_bytes(folder.name.to_bytes()));
            }
            next = folder.parent.as_deref();
        }
        names.into_iter().rev().collect()
    }

    fn opened(&self) -> MutexGuard<'_, Option<Arc<Pair>>> {
        self.opened.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives the descriptors back; a folder that is done needs none, another opens them again.
    pub fn close(&self) {
        let pair = self.opened().take();
        drop(pair);
    }
}

/// Keeps the number of open directories within what the process may have.
#[derive(Debug)]
pub(crate) struct OpenFolders {
    limit: usize,
    oldest_first: Mutex<VecDeque<Weak<Folder>>>,
}

impl OpenFolders {
    /// `workers` have files of their own open besides.
    pub fn new(workers: usize) -> Self {
        let allowed = getrlimit(Resource::RLIMIT_NOFILE).map_or(1024, |(soft, _)| soft);
        let allowed = usize::try_from(allowed).unwrap_or(1024);
        let limit = (allowed.saturating_sub(64) / 2).saturating_sub(4 * workers).clamp(8, 512);
        Self { limit, oldest_first: Mutex::new(VecDeque::new()) }
    }

    /// Remembers an open folder and closes the one that has been open for longest, if they are too many.
    pub fn add(&self, folder: &Arc<Folder>) {
        let oldest = {
            let mut queue = self.oldest_first.lock().unwrap_or_else(PoisonError::into_inner);
            queue.push_back(Arc::downgrade(folder));
            if queue.len() > self.limit { queue.pop_front() } else { None }
        };
        if let Some(oldest) = oldest.and_then(|weak| weak.upgrade()) {
            // The root is what everything else is reached from.
            if oldest.parent.is_some() {
                oldest.close();
            }
        }
    }

    /// The descriptors of a folder, opened again from its nearest open ancestor where they were closed.
    pub fn pair(&self, folder: &Arc<Folder>) -> Result<Arc<Pair>, Lost> {
        // Only the last ones are kept: who comes back up from far below needs them next.
        let kept = self.limit / 4;
        reach(folder, |folder, below, pair| {
            if below < kept {
                *folder.opened() = Some(Arc::clone(pair));
                self.add(folder);
            }
        })
    }
}

/// The descriptors of a folder that may be done already, without keeping any open.
pub(crate) fn visit(folder: &Arc<Folder>) -> Result<Arc<Pair>, Lost> {
    reach(folder, |_, _, _| ())
}

/// Opens what is closed on the way to a folder; `opened` hears of each, and of how many are still to come.
fn reach(folder: &Arc<Folder>, opened: impl Fn(&Arc<Folder>, usize, &Arc<Pair>)) -> Result<Arc<Pair>, Lost> {
    let mut closed = vec![];
    let mut next = folder;
    let mut pair = loop {
        if let Some(pair) = next.opened().as_ref() {
            break Arc::clone(pair);
        }
        closed.push(next);
        match &next.parent {
            Some(parent) => next = parent,
            // The root is never closed.
            None => return Err(Lost::Source(Errno::ESTALE)),
        }
    };
    while let Some(folder) = closed.pop() {
        pair = Arc::new(reopen(&pair, folder)?);
        opened(folder, closed.len(), &pair);
    }
    Ok(pair)
}

fn reopen(parent: &Pair, folder: &Folder) -> Result<Pair, Lost> {
    let source = dirfd::open_dir(&parent.source, folder.name.as_c_str()).map_err(Lost::Source)?;
    let target = match &parent.target {
        Some(parent) if folder.has_target => {
            Some(dirfd::open_dir(parent, folder.name.as_c_str()).map_err(Lost::Target)?)
        }
        _ => None,
    };
    Ok(Pair { source, target })
}
