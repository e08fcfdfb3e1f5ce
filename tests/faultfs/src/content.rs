//! Bytes of files.

use std::fs::File;
use std::os::unix::fs::FileExt;

use fuser::{FileHandle, INodeNo, OpenFlags};
use rustix::fs::{self as sys, CWD, FallocateFlags, Mode, OFlags, SeekFrom};
use rustix::io::Errno;

use crate::Answer;
use crate::passthrough::PassThrough;

/// Flags of an open that are passed on: the kernel keeps the offset, follows links and creates files.
pub fn usable(flags: i32) -> OFlags {
    let ours = OFlags::APPEND | OFlags::DIRECT | OFlags::NOFOLLOW | OFlags::EXCL;
    (OFlags::from_bits_retain(flags.cast_unsigned()) - ours) | OFlags::CLOEXEC
}

impl PassThrough {
    pub fn open_file(&self, number: INodeNo, flags: OpenFlags) -> Answer<FileHandle> {
        let flags = usable(flags.0);
        if flags.intersects(OFlags::WRONLY | OFlags::RDWR | OFlags::TRUNC) {
            self.faults.change()?;
        }
        let node = self.nodes.get(number)?;
        let opened = sys::openat(CWD, node.path(), flags - OFlags::CREATE, Mode::empty())?;
        Ok(self.files.add(File::from(opened)))
    }

    pub fn read_file(&self, number: INodeNo, file: FileHandle, offset: u64, size: u32) -> Answer<Vec<u8>> {
        self.faults.read(&self.nodes.path_below_root(&*self.nodes.get(number)?), offset, size.into())?;
        let file = self.files.get(file)?;
        let mut buffer = vec![0; usize::try_from(size).unwrap_or(0)];
        let mut filled = 0;
        while filled < buffer.len() {
            match file
                .read_at(&mut buffer[filled..], offset + filled as u64)
                .map_err(|error| errno(&error))?
            {
                0 => break,
                read => filled += read,
            }
        }
        buffer.truncate(filled);
        Ok(buffer)
    }

    pub fn write_file(&self, number: INodeNo, file: FileHandle, offset: u64, bytes: &[u8]) -> Answer<u32> {
        let path = self.nodes.path_below_root(&*self.nodes.get(number)?);
        let write = self.faults.write(&path, offset, bytes.len())?;
        let mut kept = bytes[..write.kept].to_vec();
        if let Some(byte) = write.wrong.and_then(|index| kept.get_mut(index)) {
            *byte = !*byte;
        }
        self.files.get(file)?.write_all_at(&kept, offset).map_err(|error| errno(&error))?;
        Ok(u32::try_from(write.said).unwrap_or(u32::MAX))
    }

    pub fn allocate(&self, file: FileHandle, offset: u64, length: u64, mode: i32) -> Answer<()> {
        let mode = FallocateFlags::from_bits_retain(mode.cast_unsigned());
        let frees = FallocateFlags::PUNCH_HOLE | FallocateFlags::COLLAPSE_RANGE;
        self.faults.reserve(if mode.intersects(frees) { 0 } else { length })?;
        sys::fallocate(&*self.files.get(file)?, mode, offset, length)
    }

    pub fn seek(&self, file: FileHandle, offset: i64, whence: i32) -> Answer<i64> {
        let start = u64::try_from(offset).map_err(|_| Errno::INVAL)?;
        // The kernel passes on only these two and answers the others itself (lseek(2)).
        let seek = match whence {
            3 => SeekFrom::Data(start),
            4 => SeekFrom::Hole(start),
            _ => return Err(Errno::INVAL),
        };
        i64::try_from(sys::seek(&*self.files.get(file)?, seek)?).map_err(|_| Errno::OVERFLOW)
    }

    pub fn sync_file(&self, number: INodeNo, file: FileHandle, content_alone: bool) -> Answer<()> {
        self.faults.sync(&self.nodes.path_below_root(&*self.nodes.get(number)?))?;
        let file = self.files.get(file)?;
        if content_alone { sys::fdatasync(&*file) } else { sys::fsync(&*file) }
    }

    pub fn sync_directory(&self, number: INodeNo) -> Answer<()> {
        let node = self.nodes.get(number)?;
        self.faults.sync(&self.nodes.path_below_root(&node))?;
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let opened = sys::openat(node.descriptor(), ".", flags, Mode::empty())?;
        sys::fsync(opened)
    }
}

fn errno(error: &std::io::Error) -> Errno {
    Errno::from_io_error(error).unwrap_or(Errno::IO)
}
