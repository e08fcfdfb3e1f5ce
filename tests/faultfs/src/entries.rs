//! Names: finding, making, renaming and removing them.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use fuser::{FileAttr, FileHandle, INodeNo, Request};
use rustix::fs::{self as sys, AtFlags, FileType, Gid, Mode, OFlags, RenameFlags, Uid};
use rustix::io::Errno;

use crate::Answer;
use crate::fault::Fault;
use crate::nodes::Node;
use crate::passthrough::{Listing, PassThrough};

/// Mode and owner of a new entry.
#[derive(Debug, Clone, Copy)]
pub struct NewEntry {
    pub mode: u32,
    pub umask: u32,
    pub user: u32,
    pub group: u32,
}

impl NewEntry {
    pub fn of(request: &Request, mode: u32, umask: u32) -> Self {
        Self { mode: mode & 0o7777, umask, user: request.uid(), group: request.gid() }
    }

    fn raw(self) -> Mode {
        Mode::from_raw_mode(self.mode)
    }
}

impl PassThrough {
    pub fn lookup_name(&self, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        let parent = self.nodes.get(parent)?;
        self.lookup_entry(&parent, &self.spelled(&parent, name)?)
    }

    pub fn list(&self, directory: INodeNo) -> Answer<FileHandle> {
        let node = self.nodes.get(directory)?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = sys::openat(node.descriptor(), ".", flags, Mode::empty())?;
        let mut listing = Listing::new();
        for entry in sys::Dir::new(opened)? {
            let entry = entry?;
            let name = OsStr::from_bytes(entry.file_name().to_bytes()).to_owned();
            listing.push((self.nodes.number(entry.ino()), crate::attributes::kind(entry.file_type()), name));
        }
        Ok(self.directories.add(listing))
    }

    pub fn make_directory(&self, parent: INodeNo, name: &OsStr, wish: NewEntry) -> Answer<FileAttr> {
        self.make(parent, name, Some(wish), |parent, name| {
            sys::mkdirat(parent.descriptor(), name, wish.raw())
        })
    }

    pub fn make_special(
        &self,
        parent: INodeNo,
        name: &OsStr,
        kind: u32,
        device: u32,
        wish: NewEntry,
    ) -> Answer<FileAttr> {
        self.make(parent, name, Some(wish), |parent, name| {
            let kind = FileType::from_raw_mode(kind);
            sys::mknodat(parent.descriptor(), name, kind, wish.raw(), device.into())
        })
    }

    pub fn make_symlink(
        &self,
        parent: INodeNo,
        name: &OsStr,
        target: &Path,
        wish: NewEntry,
    ) -> Answer<FileAttr> {
        self.faults.refuse(&Fault::NoSymlinks, Errno::PERM)?;
        self.make(parent, name, None, |parent, name| {
            sys::symlinkat(target, parent.descriptor(), name)?;
            self.give(parent, name, wish)
        })
    }

    pub fn make_hard_link(&self, number: INodeNo, parent: INodeNo, name: &OsStr) -> Answer<FileAttr> {
        self.faults.refuse(&Fault::NoHardLinks, Errno::PERM)?;
        let node = self.nodes.get(number)?;
        self.make(parent, name, None, |parent, name| {
            sys::linkat(node.descriptor(), "", parent.descriptor(), name, AtFlags::EMPTY_PATH)
        })
    }

    pub fn create_file(
        &self,
        parent: INodeNo,
        name: &OsStr,
        flags: i32,
        wish: NewEntry,
    ) -> Answer<(FileAttr, FileHandle)> {
        let mut file = None;
        let made = self.make(parent, name, Some(wish), |parent, name| {
            let flags = super::content::usable(flags) | OFlags::CREATE | OFlags::NOFOLLOW;
            file = Some(sys::openat(parent.descriptor(), name, flags, wish.raw())?);
            Ok(())
        })?;
        let file = file.ok_or(Errno::IO)?;
        Ok((made, self.files.add(File::from(file))))
    }

    pub fn remove_name(&self, parent: INodeNo, name: &OsStr, flags: AtFlags) -> Answer<()> {
        self.faults.change()?;
        let parent = self.nodes.get(parent)?;
        sys::unlinkat(parent.descriptor(), &self.spelled(&parent, name)?, flags)
    }

    pub fn rename_name(
        &self,
        from: (INodeNo, &OsStr),
        to: (INodeNo, &OsStr),
        flags: fuser::RenameFlags,
    ) -> Answer<()> {
        self.faults.change()?;
        if !flags.is_empty() {
            self.faults.refuse(&Fault::NoExchange, Errno::INVAL)?;
        }
        let (old, new) = (self.nodes.get(from.0)?, self.nodes.get(to.0)?);
        let (from, to) = (self.spelled(&old, from.1)?, self.spelled(&new, to.1)?);
        let flags = RenameFlags::from_bits_retain(flags.bits());
        sys::renameat_with(old.descriptor(), &from, new.descriptor(), &to, flags)
    }

    /// Makes an entry and looks it up for the kernel; with a [`NewEntry`], it gets the mode and owner that it would have had.
    fn make(
        &self,
        parent: INodeNo,
        name: &OsStr,
        wish: Option<NewEntry>,
        make: impl FnOnce(&Node, &OsStr) -> Answer<()>,
    ) -> Answer<FileAttr> {
        self.faults.entry()?;
        let parent = self.nodes.get(parent)?;
        let name = self.spelled(&parent, name)?;
        make(&parent, &name)?;
        if let Some(wish) = wish {
            self.give(&parent, &name, wish)?;
            self.allow(&parent, &name, wish)?;
        }
        self.lookup_entry(&parent, &name)
    }

    fn give(&self, parent: &Node, name: &OsStr, wish: NewEntry) -> Answer<()> {
        if self.faults.has(&Fault::NoOwners) {
            return Ok(());
        }
        let made = sys::statat(parent.descriptor(), name, AtFlags::SYMLINK_NOFOLLOW)?;
        // The group of a directory with the set-gid bit is inherited.
        let inherited = parent.stat()?.st_mode & 0o2000 != 0;
        let group = if inherited { made.st_gid } else { wish.group };
        if (made.st_uid, made.st_gid) == (wish.user, group) {
            return Ok(());
        }
        let (user, group) = (Uid::from_raw(wish.user), Gid::from_raw(group));
        sys::chownat(parent.descriptor(), name, Some(user), Some(group), AtFlags::SYMLINK_NOFOLLOW)
    }

    fn allow(&self, parent: &Node, name: &OsStr, wish: NewEntry) -> Answer<()> {
        let chmod =
            |mode| sys::chmodat(parent.descriptor(), name, Mode::from_raw_mode(mode), AtFlags::empty());
        if self.faults.has(&Fault::NoModes) {
            return chmod(0o777);
        }
        // A default access control list has decided already, without regard to any umask.
        if sys::getxattr_query(parent.path(), "system.posix_acl_default").is_ok_and(|size| size > 0) {
            return Ok(());
        }
        let has = sys::statat(parent.descriptor(), name, AtFlags::SYMLINK_NOFOLLOW)?.st_mode;
        let inherited = if FileType::from_raw_mode(has) == FileType::Directory { has & 0o2000 } else { 0 };
        let mode = (wish.mode & !wish.umask) | inherited;
        if has & 0o7777 == mode { Ok(()) } else { chmod(mode) }
    }

    fn lookup_entry(&self, parent: &Node, name: &OsStr) -> Answer<FileAttr> {
        let (number, stat) = self.nodes.lookup(parent, name)?;
        Ok(self.attributes(number, &*self.nodes.get(number)?, &stat))
    }

    /// Returns the name under which an entry exists, if case does not matter; otherwise the given name.
    fn spelled(&self, parent: &Node, name: &OsStr) -> Answer<OsString> {
        let there = || sys::statat(parent.descriptor(), name, AtFlags::SYMLINK_NOFOLLOW).is_ok();
        if !self.faults.has(&Fault::CaseInsensitive) || there() {
            return Ok(name.to_owned());
        }
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = sys::openat(parent.descriptor(), ".", flags, Mode::empty())?;
        let wanted = folded(name.as_bytes());
        for entry in sys::Dir::new(opened)? {
            let entry = entry?;
            if folded(entry.file_name().to_bytes()) == wanted {
                return Ok(OsStr::from_bytes(entry.file_name().to_bytes()).to_owned());
            }
        }
        Ok(name.to_owned())
    }
}

/// A name in lower case; bytes that are not UTF-8 are folded as ASCII.
fn folded(name: &[u8]) -> Vec<u8> {
    std::str::from_utf8(name)
        .map_or_else(|_| name.to_ascii_lowercase(), |name| name.to_lowercase().into_bytes())
}
