//! Reader of one file of a log, which detects that the file was truncated or rewritten.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use log_history::file_id::FileId;
use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::fingerprint::{self, Fingerprint};

/// Minimum number of zeros, in bytes, that may be a hole.
const BLOCK: usize = 4096;

/// An open file and the offset up to which it was read.
#[derive(Debug)]
pub struct FileReader {
    file: File,
    id: FileId,
    offset: u64,
    /// Fingerprint of what was read; ends behind the offset if the last bytes have to be read again.
    fingerprint: Fingerprint,
}

/// Result of one read.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'buffer> {
    /// New bytes.
    New(&'buffer [u8]),
    /// No new bytes.
    End,
    /// The content that was read is gone: the file was truncated or rewritten.
    Truncated,
}

impl FileReader {
    /// Continues at `offset`; at the start if the file is shorter.
    pub fn at(file: File, id: FileId, offset: u64) -> io::Result<Self> {
        let fingerprint = Fingerprint::read(&file, offset)?.unwrap_or_default();
        Ok(Self { file, id, offset: fingerprint.end(), fingerprint })
    }

    /// Continues where the last run has ended; its fingerprint detects that the file was rewritten since.
    pub fn resume(file: File, id: FileId, offset: u64, fingerprint: Fingerprint) -> Self {
        Self { file, id, offset, fingerprint }
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    pub fn file(&self) -> &File {
        &self.file
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Fingerprint of what was read.
    pub fn fingerprint(&self) -> &Fingerprint {
        &self.fingerprint
    }

    /// Reads once. The buffer must be larger than a fingerprint.
    ///
    /// The last bytes are read again in the same call, so that nothing can happen between the check and the read.
    pub fn read<'buffer>(&mut self, buffer: &'buffer mut [u8]) -> io::Result<Read<'buffer>> {
        if self.fingerprint.end() != self.offset {
            return Ok(if self.seek_back()? { Read::New(&[]) } else { Read::Truncated });
        }
        let old = self.fingerprint.tail().len();
        let got = self.file.read_at(buffer, self.offset - old as u64)?;
        let got = &buffer[..got];
        if !got.starts_with(self.fingerprint.tail()) {
            return Ok(Read::Truncated);
        }
        let new = &got[old..];
        if new.is_empty() {
            return Ok(Read::End);
        }
        // After the read, so that it detects a rewrite before it, also where the last bytes happen to be equal.
        if !fingerprint::beginning(&self.file)?.starts_with(self.fingerprint.head()) {
            return Ok(Read::Truncated);
        }
        let begin = self.offset;
        self.fingerprint.advance(got);
        self.offset = self.fingerprint.end();
        // The start identifies files and is always read.
        if begin > 0 && new.len() >= BLOCK && new.iter().all(|&byte| byte == 0) {
            let data = self.data_after(begin)?;
            if data > self.offset {
                self.offset = data;
                self.fingerprint.skip_hole(data);
                return Ok(Read::New(&[]));
            }
        }
        Ok(Read::New(new))
    }

    /// Moves the fingerprint back to the offset; returns false if the content is gone.
    fn seek_back(&mut self) -> io::Result<bool> {
        let earlier = Fingerprint::read(&self.file, self.offset)?;
        // In this order: what was read before the check is of the same content.
        let same = self.fingerprint.matches(&self.file)?;
        let Some(earlier) = earlier.filter(|_| same) else { return Ok(false) };
        self.fingerprint = earlier;
        Ok(true)
    }

    /// Returns the offset of the next data (lseek(2)) or the end; `offset` if the file system has no answer.
    ///
    /// A file that is truncated under a writer without `O_APPEND` gets a hole up to the writer's offset.
    fn data_after(&self, offset: u64) -> io::Result<u64> {
        let end = self.file.metadata()?.len();
        let from = i64::try_from(offset).unwrap_or(i64::MAX);
        Ok(match lseek(&self.file, from, Whence::SeekData) {
            Ok(data) => u64::try_from(data).unwrap_or(offset),
            Err(Errno::ENXIO) => end,
            Err(_) => offset,
        })
    }

    /// True if the content that was read is gone.
    pub fn is_rewritten(&self) -> io::Result<bool> {
        Ok(!self.fingerprint.matches(&self.file)?)
    }

    /// True if a copy shows that the file was truncated after it was made: it has what was read, and is longer.
    pub fn was_truncated_after(&self, copy: &File) -> io::Result<bool> {
        // In this order, because the file may grow meanwhile.
        let longer = copy.metadata()?.len() > self.file.metadata()?.len();
        Ok(longer && self.fingerprint.matches(copy)?)
    }

    /// True if a file is a copy of the present content.
    pub fn has_copy(&self, copy: &File) -> io::Result<bool> {
        fingerprint::is_copy(copy, &self.file)
    }

    /// True if nothing of it was read.
    pub fn is_unread(&self) -> bool {
        self.fingerprint.end() == 0
    }

    /// Returns a second descriptor, which keeps the inode number from being reused.
    pub fn try_clone_file(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Starts again at the first byte.
    pub fn rewind(&mut self) {
        self.offset = 0;
        self.fingerprint = Fingerprint::default();
    }

    /// Returns the first bytes of the present content.
    pub fn peek(&self) -> io::Result<Vec<u8>> {
        fingerprint::beginning(&self.file)
    }

    /// Returns a reader of the same file from its start.
    pub fn reopened(&self) -> io::Result<Self> {
        Self::at(self.file.try_clone()?, self.id, 0)
    }

    /// Returns the number of bytes that were not read.
    pub fn unread_bytes(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len().saturating_sub(self.offset))
    }

    /// True if the last byte is not a newline.
    pub fn ends_within_a_line(&self) -> bool {
        let mut last = [b'\n'];
        let end = self.file.metadata().map_or(0, |meta| meta.len());
        // An error does not matter: this only decides how the next line is marked.
        end > 0 && self.file.read_at(&mut last, end - 1).is_ok() && last != *b"\n"
    }

    /// True if the file has no name any more.
    pub fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use super::*;

    fn open(path: &Path, offset: u64) -> FileReader {
        let file = File::open(path).unwrap();
        let id = FileId::from_metadata(&file.metadata().unwrap());
        FileReader::at(file, id, offset).unwrap()
    }

    fn all(reader: &mut FileReader) -> Vec<u8> {
        let mut buffer = [0; 400];
        let mut bytes = Vec::new();
        while let Read::New(new) = reader.read(&mut buffer).unwrap() {
            bytes.extend_from_slice(new);
        }
        bytes
    }

    #[test]
    fn what_is_appended_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, vec![b'a'; 150]).unwrap();
        let mut reader = open(&path, 100);
        assert_eq!(all(&mut reader), vec![b'a'; 50]);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"bcd").unwrap();
        assert_eq!(all(&mut reader), b"bcd");
        assert_eq!((reader.offset(), reader.read(&mut [0; 400]).unwrap()), (153, Read::End));
    }

    #[test]
    fn a_cut_file_is_noticed_even_when_it_has_grown_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for later in ["", "short", "something that is longer than what there was"] {
            fs::write(&path, "what there was").unwrap();
            let mut reader = open(&path, 0);
            all(&mut reader);
            fs::write(&path, later).unwrap();
            assert_eq!(reader.read(&mut [0; 400]).unwrap(), Read::Truncated, "{later:?}");
            assert_eq!(all(&mut reader.reopened().unwrap()), later.as_bytes());
        }
    }

    #[test]
    fn a_rewritten_file_with_equal_bytes_at_our_offset_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let line = "=".repeat(200);
        fs::write(&path, format!("1{line}")).unwrap();
        let mut reader = open(&path, 0);
        all(&mut reader);
        fs::write(&path, format!("2{line}{line}")).unwrap();
        assert_eq!(reader.read(&mut [0; 400]).unwrap(), Read::Truncated);
    }

    #[test]
    fn a_hole_that_a_cut_left_is_stepped_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        // Its writer continues at its offset, because it does not append.
        let file = File::create(&path).unwrap();
        file.write_all_at(b"end\n", 10_000_000_000).unwrap();
        let (mut reader, mut buffer, mut got) = (open(&path, 0), vec![0; 64 * 1024], Vec::new());
        while got.len() < 1_000_000
            && let Read::New(new) = reader.read(&mut buffer).unwrap()
        {
            got.extend_from_slice(new);
        }
        assert!(got.len() < 1_000_000 && got.ends_with(b"end\n"), "{}", got.len());
        file.set_len(20_000_000_000).unwrap();
        while let Read::New(new) = reader.read(&mut buffer).unwrap() {
            got.extend_from_slice(new);
            assert!(got.len() < 1_000_000);
        }
        assert_eq!(reader.offset(), 20_000_000_000);
    }

    #[test]
    fn a_resumed_reader_recognises_the_content_and_rereads_the_last_bytes() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "one\ntw").unwrap();
        let mut before = open(&path, 0);
        all(&mut before);
        let resumed =
            || FileReader::resume(File::open(&path).unwrap(), before.id(), 4, before.fingerprint().clone());
        fs::write(&path, "one\ntwo\n").unwrap();
        assert_eq!(all(&mut resumed()), b"two\n");
        for other in ["", "one\n", "one\nten\n", "One\ntwo\n"] {
            fs::write(&path, other).unwrap();
            assert_eq!(resumed().read(&mut [0; 400]).unwrap(), Read::Truncated, "{other:?}");
        }
    }
}
