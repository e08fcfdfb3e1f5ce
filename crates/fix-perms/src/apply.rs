//! Doing: a change to what a descriptor holds, whatever its name has become meanwhile.

use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;

use exacl::AclOption;
use rustix::fs::{AtFlags, Gid, Mode, chmod, chownat, fchmod, fchown, fstat, removexattr};
use rustix::io::Errno;

use crate::acl::{Acl, List};
use crate::change::Change;
use crate::entry::Entry;

/// How much of an ACL is read at once, in bytes: 100 entries.
const USUAL_ACL: usize = 4 + 100 * 8;
const CAPABILITY: &str = "security.capability";

impl List {
    fn attribute(self) -> &'static str {
        match self {
            Self::Access => "system.posix_acl_access",
            Self::Default => "system.posix_acl_default",
        }
    }
}

/// A descriptor of one entry, to look at it and to change it whatever becomes of its name.
#[derive(Debug, Clone)]
pub struct Held {
    fd: Arc<OwnedFd>,
    /// Whether it was opened; it only names the entry (`O_PATH`) otherwise, which costs a path through `/proc` each time.
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

    /// What it is now.
    pub fn look(&self) -> rustix::io::Result<Entry> {
        fstat(&self.fd).map(|stat| Entry::from(&stat))
    }

    /// An ACL of it; nothing where it has none.
    pub fn acl(&self, list: List) -> io::Result<Option<Acl>> {
        acl(|buffer| self.attribute(list.attribute(), buffer))
    }

    /// Whether its file system keeps ACLs at all.
    pub fn keeps_acls(&self) -> bool {
        let nothing: &mut [u8] = &mut [];
        let asked = self.attribute(List::Access.attribute(), nothing);
        !matches!(asked, Err(Errno::OPNOTSUPP | Errno::NOSYS))
    }

    /// Whether a file runs with more rights than its reader has: whoever could write it, would have them.
    pub fn has_capabilities(&self) -> bool {
        let nothing: &mut [u8] = &mut [];
        self.attribute(CAPABILITY, nothing).is_ok()
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

    fn set_attribute(&self, change: &Change) -> rustix::io::Result<()> {
        match change {
            Change::Group(gid) if self.is_open => fchown(&self.fd, None, Some(Gid::from_raw(*gid))),
            Change::Group(gid) => {
                chownat(&self.fd, c"", None, Some(Gid::from_raw(*gid)), AtFlags::EMPTY_PATH)
            }
            Change::Mode(_, mode) if self.is_open => fchmod(&self.fd, Mode::from_raw_mode(*mode)),
            Change::Mode(_, mode) => chmod(self.path(), Mode::from_raw_mode(*mode)),
            _ => Ok(()),
        }
    }

    fn attribute(&self, name: &str, buffer: &mut [u8]) -> rustix::io::Result<usize> {
        if self.is_open {
            rustix::fs::fgetxattr(&self.fd, name, buffer)
        } else {
            rustix::fs::getxattr(self.path(), name, buffer)
        }
    }

    /// Its path: no link is followed on the way, because there is no way.
    fn path(&self) -> String {
        format!("/proc/self/fd/{}", self.fd.as_raw_fd())
    }
}

fn acl(get: impl Fn(&mut [u8]) -> rustix::io::Result<usize>) -> io::Result<Option<Acl>> {
    let mut usual = [0; USUAL_ACL];
    match get(&mut usual) {
        Ok(length) => Acl::parse(&usual[..length]).map(Some),
        Err(Errno::NODATA | Errno::OPNOTSUPP) => Ok(None),
        Err(Errno::RANGE) => {
            // The kernel keeps no attribute larger than this (xattr(7)).
            let mut largest = vec![0; 64 << 10];
            let length = get(&mut largest)?;
            Acl::parse(&largest[..length]).map(Some)
        }
        Err(error) => Err(error.into()),
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
        Change::NoDefault => entries.into_iter().try_for_each(|held| {
            match removexattr(held.path(), List::Default.attribute()) {
                Err(Errno::NODATA) => Ok(()),
                removed => Ok(removed?),
            }
        }),
        Change::Group(_) | Change::Mode(..) => Ok(()),
    }
}

fn set<'a>(entries: impl Iterator<Item = &'a Held>, acl: &Acl, list: AclOption) -> io::Result<()> {
    let paths: Vec<String> = entries.map(Held::path).collect();
    exacl::setfacl(&paths, &acl.entries(), list)
}

fn kept(kept: bool) -> io::Result<()> {
    if kept { Ok(()) } else { Err(io::ErrorKind::Unsupported.into()) }
}
