//! Copies and compares the content of files.

use std::os::fd::BorrowedFd;

use nix::errno::Errno;
use nix::sys::uio::pwrite;
use nix::unistd::{Whence, ftruncate, lseek};

use crate::direct_io::{ALIGNMENT, DirectReader, offset, set_direct};
use crate::error::SideError;
use crate::kernel_copy::KernelCopy;
use crate::metadata::Metadata;

/// Size of one read and write, in bytes.
const CHUNK: usize = 1 << 20;

/// Minimum size of files that bypass the page cache: for content that is not read again soon, freeing memory costs more
/// than the disk, and evicts pages of the services.
const DIRECT_FROM: u64 = 256 * 1024;

/// Buffer of a worker, allocated at its first use.
#[derive(Debug, Default)]
pub(crate) struct Buffer(Vec<u8>);

impl Buffer {
    /// One chunk, aligned for direct access.
    fn space(&mut self) -> &mut [u8] {
        if self.0.is_empty() {
            self.0 = vec![0; CHUNK + ALIGNMENT];
        }
        let start = self.0.as_ptr().align_offset(ALIGNMENT).min(ALIGNMENT);
        &mut self.0[start..start + CHUNK]
    }
}

/// Copies the content of a file into an empty one; returns the number of bytes written.
///
/// Holes are kept. If the source ends before the size in `meta`, the copy ends without an error: the caller checks the
/// source again. `progress` receives the size of each chunk and may stop the copy.
pub(crate) fn copy_content(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    meta: &Metadata,
    means: &KernelCopy,
    buffer: &mut Buffer,
    progress: &dyn Fn(u64) -> Result<(), SideError>,
) -> Result<u64, SideError> {
    if meta.size == 0 {
        return Ok(0);
    }
    if means.share(source, target).map_err(SideError::Target)? {
        progress(meta.size)?;
        return Ok(meta.size);
    }
    let large = meta.size >= DIRECT_FROM;
    let mut copier = Copier {
        input: DirectReader::new(source, large && means.direct_in),
        target,
        direct: large && means.direct_out && set_direct(target, true),
        buffer,
        progress,
    };
    let padded = copier.direct;
    let mut written = 0;
    let mut position = 0;
    while let Some((from, to)) = next_data(source, meta, position).map_err(SideError::Source)? {
        let begun = means.copy_inside(source, target, (from, to), progress)?;
        let reached = copier.range(begun, to)?;
        written += reached - from;
        if reached < to {
            break;
        }
        position = to;
    }
    if copier.direct {
        set_direct(target, false);
    }
    if padded || meta.is_sparse() {
        // The last block was padded, or the file ends with a hole.
        ftruncate(target, offset(meta.size)).map_err(SideError::Target)?;
    }
    Ok(written)
}

/// Returns the next data segment at or after `position`; a file without holes is one segment.
fn next_data(source: BorrowedFd<'_>, meta: &Metadata, position: u64) -> Result<Option<(u64, u64)>, Errno> {
    if position >= meta.size {
        return Ok(None);
    }
    if !meta.is_sparse() {
        return Ok(Some((position, meta.size)));
    }
    let seek = |position, whence| lseek(source, offset(position), whence).map(i64::cast_unsigned);
    match seek(position, Whence::SeekData) {
        Ok(from) if from < meta.size => {
            let to = seek(from, Whence::SeekHole)?.min(meta.size);
            Ok((to > from).then_some((from, to)))
        }
        // A hole up to the end.
        Ok(_) | Err(Errno::ENXIO) => Ok(None),
        // Without `SEEK_DATA`, every byte is data.
        Err(Errno::EINVAL | Errno::ENOTSUP) => Ok(Some((position, meta.size))),
        Err(cause) => Err(cause),
    }
}

struct Copier<'a> {
    input: DirectReader<'a>,
    target: BorrowedFd<'a>,
    direct: bool,
    buffer: &'a mut Buffer,
    progress: &'a dyn Fn(u64) -> Result<(), SideError>,
}

impl Copier<'_> {
    /// Copies from one position to another; returns the end of the source, if that is earlier.
    fn range(&mut self, from: u64, to: u64) -> Result<u64, SideError> {
        let mut position = from;
        while position < to {
            let wanted = usize::try_from(to - position).unwrap_or(CHUNK).min(CHUNK);
            let length = self.input.read(self.buffer.space(), wanted, position).map_err(SideError::Source)?;
            if length == 0 {
                break;
            }
            self.write(length, position)?;
            position += length as u64;
            (self.progress)(length as u64)?;
        }
        Ok(position)
    }

    fn write(&mut self, length: usize, position: u64) -> Result<(), SideError> {
        let space = self.buffer.space();
        if self.direct && position.is_multiple_of(ALIGNMENT as u64) {
            // Whole blocks; the padding is truncated at the end, or was a hole.
            let padded = length.next_multiple_of(ALIGNMENT);
            space[length..padded].fill(0);
            match pwrite(self.target, &space[..padded], offset(position)) {
                Ok(written) if written == padded => return Ok(()),
                Err(Errno::EINVAL) | Ok(_) => {}
                Err(cause) => return Err(SideError::Target(cause)),
            }
        }
        if self.direct {
            self.direct = false;
            set_direct(self.target, false);
        }
        let mut done = 0;
        while done < length {
            match pwrite(self.target, &space[done..length], offset(position + done as u64)) {
                Ok(0) => return Err(SideError::Target(Errno::EIO)),
                Ok(written) => done += written,
                Err(Errno::EINTR) => {}
                Err(cause) => return Err(SideError::Target(cause)),
            }
        }
        Ok(())
    }
}

/// True if two files of `size` bytes are equal; reads both up to the first difference.
pub(crate) fn same_content(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    size: u64,
    means: &KernelCopy,
    buffer: &mut Buffer,
    progress: &dyn Fn() -> Result<(), SideError>,
) -> Result<bool, SideError> {
    let large = size >= DIRECT_FROM;
    let mut left = DirectReader::new(source, large && means.direct_in);
    let mut right = DirectReader::new(target, large && means.direct_out);
    let (mine, theirs) = buffer.space().split_at_mut(CHUNK / 2);
    let mut position = 0;
    while position < size {
        let wanted = usize::try_from(size - position).unwrap_or(CHUNK).min(CHUNK / 2);
        let length = left.read(mine, wanted, position).map_err(SideError::Source)?;
        let found = right.read(theirs, wanted, position).map_err(SideError::Target)?;
        if length == 0 || found == 0 || mine[..length.min(found)] != theirs[..length.min(found)] {
            return Ok(false);
        }
        position += length.min(found) as u64;
        progress()?;
    }
    Ok(true)
}

#[cfg(test)]
mod tests {
    use super::*;
    use nix::sys::stat::fstat;
    use std::fs::File;
    use std::io::{Seek, Write};
    use std::os::fd::AsFd;
    use std::os::unix::fs::{FileExt, MetadataExt};
    use std::sync::atomic::AtomicBool;

    use crate::kernel_copy::PIECE;

    fn copied(fill: impl FnOnce(&File), means: impl FnOnce(&mut KernelCopy)) -> (File, File, u64) {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        fill(&source);
        source.sync_all().unwrap();
        let meta = Metadata::from(fstat(&source).unwrap());
        let mut able = KernelCopy::new(source.as_fd(), target.as_fd(), false);
        means(&mut able);
        let mut buffer = Buffer::default();
        let written =
            copy_content(source.as_fd(), target.as_fd(), &meta, &able, &mut buffer, &|_| Ok(())).unwrap();
        let inside = *able.inside.get_mut();
        assert_eq!(buffer.0.is_empty(), inside, "who copies by itself needs no space of ours");
        (source, target, written)
    }

    fn by_itself(means: &mut KernelCopy) {
        (means.direct_in, means.direct_out, means.inside) = (false, false, AtomicBool::new(true));
    }

    fn bytes(size: usize) -> Vec<u8> {
        (0..size).map(|at: usize| ((at * 31) >> 3).to_le_bytes()[0]).collect()
    }

    fn content(file: &mut File) -> Vec<u8> {
        let mut bytes = vec![];
        file.rewind().unwrap();
        std::io::Read::read_to_end(file, &mut bytes).unwrap();
        bytes
    }

    #[test]
    fn sizes_around_a_block_and_a_chunk_are_copied_exactly() {
        for size in [1, 4095, 4096, 4097, 262_143, 262_145, 1 << 20, (1 << 20) + 1, (3 << 20) + 4097] {
            let bytes = bytes(size);
            for direct in [true, false] {
                let (_, mut target, written) = copied(
                    |mut file| file.write_all(&bytes).unwrap(),
                    |means| (means.direct_in, means.direct_out) = (direct, direct),
                );
                assert_eq!(written, size as u64);
                assert!(content(&mut target) == bytes, "{size} bytes, direct {direct}");
            }
        }
    }

    #[test]
    fn what_the_file_system_copies_by_itself_is_copied_exactly() {
        for size in [1, 4095, 4097, 262_145, PIECE, PIECE + 1, 2 * PIECE + 4097] {
            let bytes = bytes(size);
            let (_, mut target, written) = copied(|mut file| file.write_all(&bytes).unwrap(), by_itself);
            assert_eq!(written, size as u64);
            assert!(content(&mut target) == bytes, "{size} bytes");
        }
    }

    #[test]
    fn what_the_file_system_refuses_to_copy_is_read_and_written_and_not_asked_for_again() {
        let source = tempfile::tempfile().unwrap();
        source.write_all_at(&bytes(300_000), 0).unwrap();
        let meta = Metadata::from(fstat(&source).unwrap());
        // In memory, and on a disk: no kernel copies from the one to the other by itself since 5.19.
        let mut target = tempfile::tempfile_in("/dev/shm").unwrap();
        let mut means = KernelCopy::new(source.as_fd(), target.as_fd(), false);
        assert!(!*means.inside.get_mut(), "two file systems");
        by_itself(&mut means);
        let mut buffer = Buffer::default();
        let copied = copy_content(source.as_fd(), target.as_fd(), &meta, &means, &mut buffer, &|_| Ok(()));
        assert_eq!(copied, Ok(300_000));
        assert!(content(&mut target) == bytes(300_000));
        assert!(!*means.inside.get_mut());
        let memory = tempfile::tempfile_in("/dev/shm").unwrap();
        let mut means = KernelCopy::new(memory.as_fd(), target.as_fd(), false);
        assert!(*means.inside.get_mut(), "one file system, in memory");
    }

    #[test]
    fn a_copy_can_be_ended_between_two_pieces() {
        let (source, target) = (tempfile::tempfile().unwrap(), tempfile::tempfile().unwrap());
        source.write_all_at(&bytes(2 * PIECE), 0).unwrap();
        let meta = Metadata::from(fstat(&source).unwrap());
        let mut means = KernelCopy::new(source.as_fd(), target.as_fd(), false);
        by_itself(&mut means);
        let stop = |length| if length == PIECE as u64 { Err(SideError::Stopped) } else { Ok(()) };
        let copied =
            copy_content(source.as_fd(), target.as_fd(), &meta, &means, &mut Buffer::default(), &stop);
        assert_eq!(copied, Err(SideError::Stopped));
        assert_eq!(target.metadata().unwrap().len(), PIECE as u64);
    }

    #[test]
    fn holes_stay_holes_also_at_the_end() {
        for means in [|_: &mut KernelCopy| (), by_itself] {
            let fill = |file: &File| {
                file.set_len(64 << 20).unwrap();
                file.write_all_at(b"in the middle", 20 << 20).unwrap();
                file.write_all_at(&[7; 5000], 40 << 20).unwrap();
            };
            let (mut source, mut target, written) = copied(fill, means);
            assert_eq!(written, 4096 + 8192);
            assert!(content(&mut source) == content(&mut target));
            assert!(target.metadata().unwrap().blocks() * 512 <= 64 * 1024, "{:?}", target.metadata());
        }
    }

    #[test]
    fn one_other_byte_is_a_difference() {
        let size = 3 << 20;
        let (source, target, _) = copied(|file| file.write_all_at(&vec![1; size], 0).unwrap(), |_| ());
        let means = KernelCopy::new(source.as_fd(), target.as_fd(), false);
        let same = || {
            same_content(source.as_fd(), target.as_fd(), size as u64, &means, &mut Buffer::default(), &|| {
                Ok(())
            })
        };
        assert_eq!(same(), Ok(true));
        target.write_all_at(&[2], size as u64 - 1).unwrap();
        assert_eq!(same(), Ok(false));
    }
}
