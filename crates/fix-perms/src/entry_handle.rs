//! Reads and changes entries through descriptors, so that a renamed or replaced name makes no difference.

use std::ffi::CStr;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;

use dirfd::fd_path;
use dirfd::xattr::Node;
use exacl::AclOption;
use nix::errno::Errno;
use nix::fcntl::{AT_FDCWD, AtFlags};
use nix::sys::stat::{FchmodatFlags, Mode, fchmod, fchmodat, fstat};
use nix::unistd::{Gid, fchown, fchownat};

use crate::acl::{Acl, AclKind};
use crate::change::Change;
use crate::entry::Entry;

impl AclKind {
    fn attribute(self) -> &'static CStr {
        match self {
            Self::Access => c"system.posix_acl_access",
            Self::Default => c"system.posix_acl_default",
        }
    }
}

/// A descriptor of one entry.
#[derive(Debug, Clone)]
pub struct EntryHandle {
    fd: Arc<OwnedFd>,
    /// False for an `O_PATH` descriptor, which needs a path through `/proc` for most operations.
    is_open: bool,
}

impl EntryHandle {
    /// Wraps a descriptor that is open for reading.
    pub fn open(fd: Arc<OwnedFd>) -> Self {
        Self { fd, is_open: true }
    }

    /// Wraps an `O_PATH` descriptor, for entries that may not be opened.
    pub fn from_path_fd(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd), is_open: false }
    }

    /// Returns the current state of the entry.
    pub fn stat(&self) -> nix::Result<Entry> {
        fstat(&*self.fd).map(|stat| Entry::from(&stat))
    }

    /// Returns an ACL of the entry, if it has one.
    pub fn acl(&self, kind: AclKind) -> io::Result<Option<Acl>> {
        match self.node().get(kind.attribute()) {
            Ok(bytes) => Acl::parse(&bytes).map(Some),
            Err(Errno::ENODATA | Errno::ENOTSUP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// True if the file system has ACLs.
    pub fn supports_acls(&self) -> bool {
        let length = self.node().length(AclKind::Access.attribute());
        !matches!(length, Err(Errno::ENOTSUP | Errno::ENOSYS))
    }

    /// True for a program with file capabilities: an account that could write to it would have them.
    pub fn has_capabilities(&self) -> bool {
        self.node().length(c"security.capability").is_ok()
    }

    fn node(&self) -> Node<'_> {
        if self.is_open { Node::Open(self.fd.as_fd()) } else { Node::PathOnly(self.fd.as_fd()) }
    }

    /// Changes group and mode, and reports the result of each change; `Unsupported` if the file system accepted it without
    /// storing it.
    pub fn set_attributes(&self, changes: &[&Change], mut report: impl FnMut(&Change, io::Result<()>)) {
        if changes.is_empty() {
            return;
        }
        let made: Vec<_> = changes.iter().map(|change| self.set_attribute(change)).collect();
        let after = self.stat();
        for (change, made) in changes.iter().zip(made) {
            let is_stored = |entry: Entry| match change {
                Change::Group(gid) => entry.gid == *gid,
                Change::Mode(_, wanted) => entry.mode == *wanted,
                _ => true,
            };
            report(
                change,
                made.and(after).map_err(Into::into).and_then(|entry| require_stored(is_stored(entry))),
            );
        }
    }

    fn set_attribute(&self, change: &Change) -> nix::Result<()> {
        match change {
            Change::Group(gid) if self.is_open => fchown(&*self.fd, None, Some(Gid::from_raw(*gid))),
            Change::Group(gid) => {
                fchownat(&*self.fd, c"", None, Some(Gid::from_raw(*gid)), AtFlags::AT_EMPTY_PATH)
            }
            Change::Mode(_, mode) if self.is_open => fchmod(&*self.fd, Mode::from_bits_truncate(*mode)),
            Change::Mode(_, mode) => {
                let mode = Mode::from_bits_truncate(*mode);
                fchmodat(AT_FDCWD, &fd_path(&*self.fd), mode, FchmodatFlags::FollowSymlink)
            }
            _ => Ok(()),
        }
    }
}

/// Makes the same change of an ACL to several entries; `Unsupported` if a file system accepted it without storing it.
///
/// Stops at the first error.
pub fn set_acls<'a>(
    entries: impl Iterator<Item = &'a EntryHandle> + Clone,
    change: &Change,
) -> io::Result<()> {
    match change {
        Change::Access(_, _, acl) => set(entries, acl, AclOption::ACCESS_ACL),
        Change::Default(_, acl) => {
            set(entries.clone(), acl, AclOption::DEFAULT_ACL)?;
            entries.into_iter().try_for_each(|handle| require_stored(handle.acl(AclKind::Default)?.is_some()))
        }
        Change::NoDefault => entries.into_iter().try_for_each(|handle| {
            match handle.node().remove(AclKind::Default.attribute()) {
                Err(Errno::ENODATA) => Ok(()),
                removed => Ok(removed?),
            }
        }),
        Change::Group(_) | Change::Mode(..) => Ok(()),
    }
}

fn set<'a>(entries: impl Iterator<Item = &'a EntryHandle>, acl: &Acl, kind: AclOption) -> io::Result<()> {
    let paths: Vec<PathBuf> = entries.map(|handle| fd_path(&*handle.fd)).collect();
    exacl::setfacl(&paths, &acl.entries(), kind)
}

fn require_stored(is_stored: bool) -> io::Result<()> {
    if is_stored { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}
