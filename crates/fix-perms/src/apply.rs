//! Doing: a change to what a descriptor holds, whatever its name has become meanwhile.

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

use crate::acl::{Acl, List};
use crate::change::Change;
use crate::entry::Entry;

impl List {
    fn attribute(self) -> &'static CStr {
        match self {
            Self::Access => c"system.posix_acl_access",
            Self::Default => c"system.posix_acl_default",
        }
    }
}

/// A descriptor of one entry, to look at it and to change it whatever becomes of its name.
#[derive(Debug, Clone)]
pub struct Held {
    fd: Arc<OwnedFd>,
    /// False for a descriptor that only names the entry (`O_PATH`), which costs a path through `/proc` each time.
    is_open: bool,
}

impl Held {
    /// A descriptor that was opened for reading.
    pub fn open(fd: Arc<OwnedFd>) -> Self {
        Self { fd, is_open: true }
    }

    /// A descriptor that only names something (`O_PATH`), for what may not be opened.
    pub fn named(fd: OwnedFd) -> Self {
        Self { fd: Arc::new(fd), is_open: false }
    }

    /// Returns what it is now.
    pub fn look(&self) -> nix::Result<Entry> {
        fstat(&*self.fd).map(|stat| Entry::from(&stat))
    }

    /// Returns an ACL of it; nothing where it has none.
    pub fn acl(&self, list: List) -> io::Result<Option<Acl>> {
        match self.node().get(list.attribute()) {
            Ok(bytes) => Acl::parse(&bytes).map(Some),
            Err(Errno::ENODATA | Errno::ENOTSUP) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// True if its file system keeps ACLs at all.
    pub fn keeps_acls(&self) -> bool {
        let length = self.node().length(List::Access.attribute());
        !matches!(length, Err(Errno::ENOTSUP | Errno::ENOSYS))
    }

    /// True for a program that runs with more rights than its reader has: an account that could write it would have them.
    pub fn has_capabilities(&self) -> bool {
        self.node().length(c"security.capability").is_ok()
    }

    fn node(&self) -> Node<'_> {
        if self.is_open { Node::Open(self.fd.as_fd()) } else { Node::PathOnly(self.fd.as_fd()) }
    }

    /// Makes changes of group and mode, and tells of each what became of it; `Unsupported` where the file system took one
    /// and did not keep it.
    pub fn set_attributes(&self, changes: &[&Change], mut tell: impl FnMut(&Change, io::Result<()>)) {
        if changes.is_empty() {
            return;
        }
        let made: Vec<_> = changes.iter().map(|change| self.set_attribute(change)).collect();
        let after = self.look();
        for (change, made) in changes.iter().zip(made) {
            let is_kept = |entry: Entry| match change {
                Change::Group(gid) => entry.gid == *gid,
                Change::Mode(_, wanted) => entry.mode == *wanted,
                _ => true,
            };
            tell(change, made.and(after).map_err(Into::into).and_then(|entry| kept(is_kept(entry))));
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

/// Makes the same change of an ACL to some entries; `Unsupported` where a file system took it and did not keep it.
///
/// After an error, those behind the first that failed were not tried.
pub fn set_acls<'a>(entries: impl Iterator<Item = &'a Held> + Clone, change: &Change) -> io::Result<()> {
    match change {
        Change::Access(_, _, acl) => set(entries, acl, AclOption::ACCESS_ACL),
        Change::Default(_, acl) => {
            set(entries.clone(), acl, AclOption::DEFAULT_ACL)?;
            entries.into_iter().try_for_each(|held| kept(held.acl(List::Default)?.is_some()))
        }
        Change::NoDefault => {
            entries.into_iter().try_for_each(|held| match held.node().remove(List::Default.attribute()) {
                Err(Errno::ENODATA) => Ok(()),
                removed => Ok(removed?),
            })
        }
        Change::Group(_) | Change::Mode(..) => Ok(()),
    }
}

fn set<'a>(entries: impl Iterator<Item = &'a Held>, acl: &Acl, list: AclOption) -> io::Result<()> {
    let paths: Vec<PathBuf> = entries.map(|held| fd_path(&*held.fd)).collect();
    exacl::setfacl(&paths, &acl.entries(), list)
}

fn kept(kept: bool) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}
