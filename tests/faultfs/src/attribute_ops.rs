//! Attributes of entries, and of the file system.

use std::ffi::OsStr;

use fuser::{FileAttr, FileHandle, INodeNo, TimeOrNow};
use rustix::fs::{self as sys, AtFlags, CWD, Gid, Mode, OFlags, Stat, StatVfs, Timestamps, Uid, XattrFlags};
use rustix::io::Errno;

use crate::Answer;
use crate::attributes::{self, wanted};
use crate::fault::Fault;
use crate::nodes::Node;
use crate::passthrough::PassThrough;

/// Attributes to change; the others stay.
#[derive(Debug)]
pub struct Change {
    pub mode: Option<u32>,
    pub user: Option<u32>,
    pub group: Option<u32>,
    pub size: Option<u64>,
    pub accessed: Option<TimeOrNow>,
    pub modified: Option<TimeOrNow>,
    pub file: Option<FileHandle>,
}

impl PassThrough {
    pub fn attributes(&self, number: INodeNo, node: &Node, stat: &Stat) -> FileAttr {
        let mut found = attributes::of(stat, number, self.faults.has(&Fault::CoarseTimes));
        let age = self.faults.extra_age(&self.nodes.path_below_root(node));
        found.ctime = found.ctime.checked_sub(age).unwrap_or(found.ctime);
        found
    }

    pub fn attributes_of(&self, number: INodeNo) -> Answer<FileAttr> {
        let node = self.nodes.get(number)?;
        Ok(self.attributes(number, &node, &node.stat()?))
    }

    pub fn change(&self, number: INodeNo, change: &Change) -> Answer<FileAttr> {
        self.faults.change()?;
        let node = self.nodes.get(number)?;
        if let Some(size) = change.size {
            let size = self.faults.size(&self.nodes.path_below_root(&node), size);
            match change.file {
                Some(file) => sys::ftruncate(&*self.files.get(file)?, size)?,
                None => {
                    let flags = OFlags::WRONLY | OFlags::CLOEXEC;
                    sys::ftruncate(sys::openat(CWD, node.path(), flags, Mode::empty())?, size)?;
                }
            }
        }
        let has = node.stat()?;
        let (user, group) = (change.user.unwrap_or(has.st_uid), change.group.unwrap_or(has.st_gid));
        if (user, group) != (has.st_uid, has.st_gid) {
            self.faults.refuse(&Fault::NoOwners, Errno::PERM)?;
        }
        if change.user.is_some() || change.group.is_some() {
            let (user, group) = (change.user.map(Uid::from_raw), change.group.map(Gid::from_raw));
            sys::chownat(node.descriptor(), "", user, group, AtFlags::EMPTY_PATH)?;
        }
        if let Some(mode) = change.mode {
            if mode & 0o7777 != has.st_mode & 0o7777 {
                self.faults.refuse(&Fault::NoModes, Errno::PERM)?;
            }
            sys::chmodat(CWD, node.path(), Mode::from_raw_mode(mode & 0o7777), AtFlags::empty())?;
        }
        if change.accessed.is_some() || change.modified.is_some() {
            let times = Timestamps {
                last_access: wanted(change.accessed),
                last_modification: wanted(change.modified),
            };
            sys::utimensat(node.descriptor(), "", &times, AtFlags::EMPTY_PATH)?;
        }
        self.attributes_of(number)
    }

    pub fn target(&self, number: INodeNo) -> Answer<Vec<u8>> {
        let node = self.nodes.get(number)?;
        Ok(sys::readlinkat(node.descriptor(), "", Vec::new())?.into_bytes())
    }

    pub fn set_extended(&self, number: INodeNo, name: &OsStr, value: &[u8], flags: i32) -> Answer<()> {
        self.faults.change()?;
        self.faults.refuse(&Fault::NoAttributes, Errno::OPNOTSUPP)?;
        let flags = XattrFlags::from_bits_retain(flags.cast_unsigned());
        sys::setxattr(self.nodes.get(number)?.path(), name, value, flags)
    }

    /// Returns the value, or its length if the kernel asks for that.
    pub fn extended(&self, number: INodeNo, name: &OsStr, room: u32) -> Answer<Extended> {
        let path = self.nodes.get(number)?.path();
        self.sized(room, |buffer| match buffer {
            [] => sys::getxattr_query(&path, name),
            buffer => sys::getxattr(&path, name, buffer),
        })
    }

    pub fn list_extended(&self, number: INodeNo, room: u32) -> Answer<Extended> {
        let path = self.nodes.get(number)?.path();
        self.sized(room, |buffer| match buffer {
            [] => sys::listxattr_query(&path),
            buffer => sys::listxattr(&path, buffer),
        })
    }

    pub fn remove_extended(&self, number: INodeNo, name: &OsStr) -> Answer<()> {
        self.faults.change()?;
        self.faults.refuse(&Fault::NoAttributes, Errno::OPNOTSUPP)?;
        sys::removexattr(self.nodes.get(number)?.path(), name)
    }

    /// Size and free space of the file system.
    pub fn file_system_stats(&self) -> Answer<StatVfs> {
        let mut room = sys::statvfs(self.nodes.get(INodeNo::ROOT)?.path())?;
        if let Some((bytes, inodes)) = self.faults.claimed_space() {
            let blocks = bytes / room.f_frsize.max(1);
            (room.f_bfree, room.f_bavail, room.f_ffree, room.f_favail) = (blocks, blocks, inodes, inodes);
        }
        Ok(room)
    }

    fn sized(&self, room: u32, call: impl FnOnce(&mut [u8]) -> Answer<usize>) -> Answer<Extended> {
        self.faults.refuse(&Fault::NoAttributes, Errno::OPNOTSUPP)?;
        let mut buffer = vec![0; usize::try_from(room).unwrap_or(0)];
        let length = call(&mut buffer)?;
        if room == 0 {
            return Ok(Extended::Length(u32::try_from(length).unwrap_or(u32::MAX)));
        }
        buffer.truncate(length);
        Ok(Extended::Value(buffer))
    }
}

/// An answer about extended attributes.
#[derive(Debug)]
pub enum Extended {
    Length(u32),
    Value(Vec<u8>),
}
