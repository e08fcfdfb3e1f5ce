//! Requests of the kernel: each is passed to the operation of its name, and the result back.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::time::{Duration, SystemTime};

use fuser::{
    BsdFileFlags, Errno, FileHandle, Filesystem, FopenFlags, Generation, INodeNo, InitFlags, KernelConfig,
    LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory, ReplyEmpty,
    ReplyEntry, ReplyLseek, ReplyOpen, ReplyStatfs, ReplyWrite, ReplyXattr, Request, TimeOrNow, WriteFlags,
};
use rustix::fs::AtFlags;

use crate::Answer;
use crate::attribute_ops::{Change, Extended};
use crate::entries::NewEntry;
use crate::passthrough::PassThrough;

/// The kernel caches nothing, so that a fault takes effect at once and lost data is visible.
const REMEMBERED: Duration = Duration::ZERO;

impl PassThrough {
    /// Waits as long as a slow disk would, then runs the operation.
    fn slowly<T>(&self, operation: impl FnOnce() -> Answer<T>) -> Result<T, Errno> {
        self.faults.pause();
        operation().map_err(|error| Errno::from_i32(error.raw_os_error()))
    }

    fn entry(&self, reply: ReplyEntry, operation: impl FnOnce() -> Answer<fuser::FileAttr>) {
        match self.slowly(operation) {
            Ok(attributes) => reply.entry(&REMEMBERED, &attributes, Generation(0)),
            Err(error) => reply.error(error),
        }
    }

    fn empty(&self, reply: ReplyEmpty, operation: impl FnOnce() -> Answer<()>) {
        match self.slowly(operation) {
            Ok(()) => reply.ok(),
            Err(error) => reply.error(error),
        }
    }

    fn attribute(&self, reply: ReplyAttr, operation: impl FnOnce() -> Answer<fuser::FileAttr>) {
        match self.slowly(operation) {
            Ok(attributes) => reply.attr(&REMEMBERED, &attributes),
            Err(error) => reply.error(error),
        }
    }

    fn opened(&self, reply: ReplyOpen, operation: impl FnOnce() -> Answer<FileHandle>) {
        match self.slowly(operation) {
            Ok(handle) => reply.opened(handle, FopenFlags::empty()),
            Err(error) => reply.error(error),
        }
    }

    fn bytes(&self, reply: ReplyData, operation: impl FnOnce() -> Answer<Vec<u8>>) {
        match self.slowly(operation) {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(error),
        }
    }

    fn extended_reply(&self, reply: ReplyXattr, operation: impl FnOnce() -> Answer<Extended>) {
        match self.slowly(operation) {
            Ok(Extended::Length(length)) => reply.size(length),
            Ok(Extended::Value(value)) => reply.data(&value),
            Err(error) => reply.error(error),
        }
    }
}

impl Filesystem for PassThrough {
    fn init(&mut self, _: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Default access control lists decide about modes, so we need the mode and the umask apart.
        config
            .add_capabilities(InitFlags::FUSE_DONT_MASK)
            .map_err(|missing| io::Error::other(format!("the kernel's FUSE lacks {missing:?}")))
    }

    fn lookup(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, || self.lookup_name(parent, name));
    }

    fn forget(&self, _: &Request, number: INodeNo, lookups: u64) {
        self.nodes.forget(number, lookups);
    }

    fn getattr(&self, _: &Request, number: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        self.attribute(reply, || self.attributes_of(number));
    }

    fn setattr(
        &self,
        _: &Request,
        number: INodeNo,
        mode: Option<u32>,
        user: Option<u32>,
        group: Option<u32>,
        size: Option<u64>,
        accessed: Option<TimeOrNow>,
        modified: Option<TimeOrNow>,
        _: Option<SystemTime>,
        file: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let change = Change { mode, user, group, size, accessed, modified, file };
        self.attribute(reply, || self.change(number, &change));
    }

    fn readlink(&self, _: &Request, number: INodeNo, reply: ReplyData) {
        self.bytes(reply, || self.target(number));
    }

    fn mknod(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        device: u32,
        reply: ReplyEntry,
    ) {
        let wish = NewEntry::of(request, mode, umask);
        self.entry(reply, || self.make_special(parent, name, mode, device, wish));
    }

    fn mkdir(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        reply: ReplyEntry,
    ) {
        self.entry(reply, || self.make_directory(parent, name, NewEntry::of(request, mode, umask)));
    }

    fn unlink(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, || self.remove_name(parent, name, AtFlags::empty()));
    }

    fn rmdir(&self, _: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, || self.remove_name(parent, name, AtFlags::REMOVEDIR));
    }

    fn symlink(&self, request: &Request, parent: INodeNo, name: &OsStr, target: &Path, reply: ReplyEntry) {
        self.entry(reply, || self.make_symlink(parent, name, target, NewEntry::of(request, 0o777, 0)));
    }

    fn rename(
        &self,
        _: &Request,
        parent: INodeNo,
        name: &OsStr,
        new_parent: INodeNo,
        new_name: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, || self.rename_name((parent, name), (new_parent, new_name), flags));
    }

    fn link(&self, _: &Request, number: INodeNo, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        self.entry(reply, || self.make_hard_link(number, parent, name));
    }

    fn open(&self, _: &Request, number: INodeNo, flags: OpenFlags, reply: ReplyOpen) {
        self.opened(reply, || self.open_file(number, flags));
    }

    fn read(
        &self,
        _: &Request,
        number: INodeNo,
        file: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.bytes(reply, || self.read_file(number, file, offset, size));
    }

    fn write(
        &self,
        _: &Request,
        number: INodeNo,
        file: FileHandle,
        offset: u64,
        bytes: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        match self.slowly(|| self.write_file(number, file, offset, bytes)) {
            Ok(written) => reply.written(written),
            Err(error) => reply.error(error),
        }
    }

    fn flush(&self, _: &Request, _: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        reply.ok();
    }

    fn release(
        &self,
        _: &Request,
        _: INodeNo,
        file: FileHandle,
        _: OpenFlags,
        _: Option<LockOwner>,
        _: bool,
        reply: ReplyEmpty,
    ) {
        self.files.close(file);
        reply.ok();
    }

    fn fsync(&self, _: &Request, number: INodeNo, file: FileHandle, content_alone: bool, reply: ReplyEmpty) {
        self.empty(reply, || self.sync_file(number, file, content_alone));
    }

    fn opendir(&self, _: &Request, number: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.opened(reply, || self.list(number));
    }

    fn readdir(
        &self,
        _: &Request,
        _: INodeNo,
        directory: FileHandle,
        offset: u64,
        mut reply: ReplyDirectory,
    ) {
        match self.slowly(|| self.directories.get(directory)) {
            Ok(listing) => {
                let skipped = usize::try_from(offset).unwrap_or(usize::MAX);
                for (next, (number, kind, name)) in (1_u64..).zip(listing.iter()).skip(skipped) {
                    if reply.add(*number, next, *kind, name) {
                        break;
                    }
                }
                reply.ok();
            }
            Err(error) => reply.error(error),
        }
    }

    fn releasedir(&self, _: &Request, _: INodeNo, directory: FileHandle, _: OpenFlags, reply: ReplyEmpty) {
        self.directories.close(directory);
        reply.ok();
    }

    fn fsyncdir(&self, _: &Request, number: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.empty(reply, || self.sync_directory(number));
    }

    fn statfs(&self, _: &Request, _: INodeNo, reply: ReplyStatfs) {
        let short = |number: u64| u32::try_from(number).unwrap_or(u32::MAX);
        match self.slowly(|| self.file_system_stats()) {
            Ok(room) => reply.statfs(
                room.f_blocks,
                room.f_bfree,
                room.f_bavail,
                room.f_files,
                room.f_ffree,
                short(room.f_bsize),
                short(room.f_namemax),
                short(room.f_frsize),
            ),
            Err(error) => reply.error(error),
        }
    }

    fn setxattr(
        &self,
        _: &Request,
        number: INodeNo,
        name: &OsStr,
        value: &[u8],
        flags: i32,
        _: u32,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, || self.set_extended(number, name, value, flags));
    }

    fn getxattr(&self, _: &Request, number: INodeNo, name: &OsStr, size: u32, reply: ReplyXattr) {
        self.extended_reply(reply, || self.extended(number, name, size));
    }

    fn listxattr(&self, _: &Request, number: INodeNo, size: u32, reply: ReplyXattr) {
        self.extended_reply(reply, || self.list_extended(number, size));
    }

    fn removexattr(&self, _: &Request, number: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        self.empty(reply, || self.remove_extended(number, name));
    }

    fn create(
        &self,
        request: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        flags: i32,
        reply: ReplyCreate,
    ) {
        match self.slowly(|| self.create_file(parent, name, flags, NewEntry::of(request, mode, umask))) {
            Ok((attributes, file)) => {
                reply.created(&REMEMBERED, &attributes, Generation(0), file, FopenFlags::empty());
            }
            Err(error) => reply.error(error),
        }
    }

    fn fallocate(
        &self,
        _: &Request,
        _: INodeNo,
        file: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        self.empty(reply, || self.allocate(file, offset, length, mode));
    }

    fn lseek(&self, _: &Request, _: INodeNo, file: FileHandle, offset: i64, whence: i32, reply: ReplyLseek) {
        match self.slowly(|| self.seek(file, offset, whence)) {
            Ok(offset) => reply.offset(offset),
            Err(error) => reply.error(error),
        }
    }
}
