//! A directory on both sides while it is worked on, reached by descriptors and never by a path.

use std::collections::VecDeque;
use std::ffi::{CStr, CString, OsStr};
use std::fs;
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{Mode, OFlags, ResolveFlags, fstat, openat, openat2};
use rustix::io::Errno;
use rustix::process::{Resource, getrlimit};

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
        let allowed = getrlimit(Resource::Nofile).current.unwrap_or(1024);
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
            None => return Err(Lost::Source(Errno::STALE)),
        }
    };
    while let Some(folder) = closed.pop() {
        pair = Arc::new(reopen(&pair, folder)?);
        opened(folder, closed.len(), &pair);
    }
    Ok(pair)
}

fn reopen(parent: &Pair, folder: &Folder) -> Result<Pair, Lost> {
    let source = open_directory(parent.source.as_fd(), &folder.name).map_err(Lost::Source)?;
    let target = match &parent.target {
        Some(parent) if folder.has_target => {
            Some(open_directory(parent.as_fd(), &folder.name).map_err(Lost::Target)?)
        }
        _ => None,
    };
    Ok(Pair { source, target })
}

const DIRECTORY: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);

/// Opens a directory of a directory: no link is followed, and no mount point is crossed (`EXDEV`).
pub(crate) fn open_directory(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    match openat2(parent, name, DIRECTORY, Mode::empty(), ResolveFlags::NO_XDEV | ResolveFlags::NO_SYMLINKS) {
        Err(Errno::NOSYS | Errno::PERM) => open_and_compare(parent, name),
        answer => answer,
    }
}

/// Does the same as [`open_directory`] where `openat2` (Linux 5.6) is missing or filtered away. A bind mount may have its parent's device.
fn open_and_compare(parent: BorrowedFd<'_>, name: &CStr) -> Result<OwnedFd, Errno> {
    let opened = openat(parent, name, DIRECTORY, Mode::empty())?;
    let of = |directory: BorrowedFd<'_>| Ok((fstat(directory)?.st_dev, mount_of(directory)));
    if of(opened.as_fd())? == of(parent)? { Ok(opened) } else { Err(Errno::XDEV) }
}

/// Returns the line of proc(5)'s `fdinfo` that names the mount of an open file; nothing where the kernel has none.
fn mount_of(file: BorrowedFd<'_>) -> Option<String> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", file.as_raw_fd())).ok()?;
    info.lines().find(|line| line.starts_with("mnt_id:")).map(str::to_owned)
}

/// Opens a directory of a directory as [`open_directory`] does, by a name as a program has it.
pub fn open_in(parent: BorrowedFd<'_>, name: &OsStr) -> io::Result<OwnedFd> {
    Ok(open_directory(parent, &CString::new(name.as_bytes())?)?)
}

/// True if this error means that an entry went after it was listed, or that something else has its name.
pub(crate) fn is_gone(cause: Errno) -> bool {
    matches!(cause, Errno::NOENT | Errno::NOTDIR | Errno::LOOP)
}

/// Opens the root of a tree, through links if there are some on the way: the caller named it.
pub(crate) fn open_root(path: &Path) -> Result<OwnedFd, Errno> {
    rustix::fs::open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn a_bind_mount_of_the_same_device_is_not_entered_by_any_kernel() {
        struct Bound(PathBuf);
        impl Drop for Bound {
            fn drop(&mut self) {
                let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (plain, bound) = (dir.path().join("plain"), dir.path().join("bound"));
        fs::create_dir(&plain).unwrap();
        fs::create_dir(&bound).unwrap();
        assert!(Command::new("mount").arg("--bind").args([&plain, &bound]).status().unwrap().success());
        let _bound = Bound(bound);
        let parent = open_root(dir.path()).unwrap();
        for open in [open_directory, open_and_compare] {
            assert!(open(parent.as_fd(), c"plain").is_ok());
            assert_eq!(open(parent.as_fd(), c"bound").map(drop), Err(Errno::XDEV));
        }
    }
}
