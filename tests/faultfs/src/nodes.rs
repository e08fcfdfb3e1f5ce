//! The entries that the kernel knows, each held by a descriptor, so that a rename on either side changes nothing.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::ffi::OsStr;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use fuser::INodeNo;
use rustix::fs::{self as sys, CWD, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::Answer;

/// An entry of the backing directory.
#[derive(Debug)]
pub struct Node(OwnedFd);

impl Node {
    /// For calls that take a directory and a name in it, or an empty one.
    pub fn descriptor(&self) -> &OwnedFd {
        &self.0
    }

    /// Path for calls that take only a path; it names the entry itself, even if that is a link.
    pub fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.0.as_raw_fd())
    }

    pub fn stat(&self) -> Answer<Stat> {
        sys::fstat(&self.0)
    }
}

/// All nodes by number: the inode number of the backing file system, or 1 for the root.
#[derive(Debug)]
pub struct Nodes {
    root: PathBuf,
    root_inode: u64,
    known: Mutex<HashMap<u64, Known>>,
}

#[derive(Debug)]
struct Known {
    node: Arc<Node>,
    /// Lookups that the kernel has not forgotten.
    lookups: u64,
}

impl Nodes {
    /// Contains only the root.
    pub fn new(root: &Path) -> Answer<Self> {
        let opened =
            sys::openat(CWD, root, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
        let root_inode = sys::fstat(&opened)?.st_ino;
        let known = Known { node: Arc::new(Node(opened)), lookups: 1 };
        let known = Mutex::new(HashMap::from([(INodeNo::ROOT.0, known)]));
        Ok(Self { root: root.to_owned(), root_inode, known })
    }

    pub fn get(&self, number: INodeNo) -> Answer<Arc<Node>> {
        self.known().get(&number.0).map(|known| known.node.clone()).ok_or(Errno::STALE)
    }

    /// Looks a name up and counts that for the kernel.
    pub fn lookup(&self, parent: &Node, name: &OsStr) -> Answer<(INodeNo, Stat)> {
        let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
        let opened = sys::openat(parent.descriptor(), name, flags, Mode::empty())?;
        let stat = sys::fstat(&opened)?;
        let number = self.number(stat.st_ino);
        match self.known().entry(number.0) {
            // The descriptor that is held keeps the inode's number from being used again.
            Entry::Occupied(mut known) => known.get_mut().lookups += 1,
            Entry::Vacant(free) => {
                free.insert(Known { node: Arc::new(Node(opened)), lookups: 1 });
            }
        }
        Ok((number, stat))
    }

    pub fn forget(&self, number: INodeNo, lookups: u64) {
        let mut all = self.known();
        let Some(known) = all.get_mut(&number.0) else { return };
        known.lookups = known.lookups.saturating_sub(lookups);
        if known.lookups == 0 && number != INodeNo::ROOT {
            all.remove(&number.0);
        }
    }

    pub fn number(&self, inode: u64) -> INodeNo {
        if inode == self.root_inode { INodeNo::ROOT } else { INodeNo(inode) }
    }

    /// Path of an entry below the root, for patterns; empty if it is unknown.
    pub fn path_below_root(&self, node: &Node) -> Vec<u8> {
        let path = std::fs::read_link(node.path()).unwrap_or_default();
        path.strip_prefix(&self.root).unwrap_or(Path::new("")).as_os_str().as_bytes().to_owned()
    }

    fn known(&self) -> MutexGuard<'_, HashMap<u64, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
