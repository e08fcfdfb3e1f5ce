//! One file of a log while it is read, and how a rewritten one is noticed.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use nix::errno::Errno;
use nix::unistd::{Whence, lseek};

use crate::identity::FileId;

/// So much of a file's beginning, and of what was read last, is remembered, in bytes.
const MARK: usize = 64;
/// Less than this many zeros are not looked at closer, in bytes.
const BLOCK: usize = 4096;

/// A file that is open, and how far it is read.
#[derive(Debug)]
pub struct Generation {
    file: File,
    id: FileId,
    offset: u64,
    head: Vec<u8>,
    tail: Vec<u8>,
}

/// What came of reading.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'buffer> {
    /// New bytes.
    New(&'buffer [u8]),
    /// There is nothing new.
    End,
    /// What was read is not there any more: the file was cut, or written anew.
    Rewritten,
}

impl Generation {
    /// Reads on at `offset`; from the beginning if the file is shorter than that.
    pub fn at(file: File, id: FileId, offset: u64) -> io::Result<Self> {
        let offset = if file.metadata()?.len() < offset { 0 } else { offset };
        let mut generation = Self { file, id, offset, head: Vec::new(), tail: Vec::new() };
        let length = MARK.min(usize::try_from(offset).unwrap_or(MARK));
        let mut mark = vec![0; length];
        generation.file.read_exact_at(&mut mark, 0)?;
        generation.head.clone_from(&mark);
        generation.file.read_exact_at(&mut mark, offset - length as u64)?;
        generation.tail = mark;
        Ok(generation)
    }

    pub fn id(&self) -> FileId {
        self.id
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    /// Reads once, as much as fits.
    ///
    /// The last bytes of before are read again in the same call, so nothing can happen between looking at them and reading on.
    pub fn read<'buffer>(&mut self, buffer: &'buffer mut [u8]) -> io::Result<Read<'buffer>> {
        let old = self.tail.len();
        let got = self.file.read_at(buffer, self.offset - old as u64)?;
        let got = &buffer[..got];
        if got.len() < old || got[..old] != self.tail {
            return Ok(Read::Rewritten);
        }
        let new = &got[old..];
        if new.is_empty() {
            return Ok(Read::End);
        }
        // After the read: had it been written anew before, this shows it, also where the last bytes happen to be the same.
        let mut head = [0; MARK];
        let found = self.file.read_at(&mut head[..self.head.len()], 0)?;
        if head[..found] != self.head {
            return Ok(Read::Rewritten);
        }
        if self.head.len() < MARK {
            let missing = (MARK - self.head.len()).min(new.len());
            self.head.extend_from_slice(&new[..missing]);
        }
        self.tail = got[got.len() - MARK.min(got.len())..].to_vec();
        let begin = self.offset;
        self.offset += new.len() as u64;
        // The beginning tells files apart and is always shown.
        if begin > 0 && new.len() >= BLOCK && new.iter().all(|&byte| byte == 0) {
            let data = self.data_after(begin)?;
            if data > self.offset {
                self.offset = data;
                self.tail = vec![0; MARK];
                return Ok(Read::New(&[]));
            }
        }
        Ok(Read::New(new))
    }

    /// Where the next bytes are that somebody wrote (lseek(2)), or the end; this place itself where nobody knows.
    ///
    /// A file that is cut under a writer who does not append gets a hole up to where the writer was.
    fn data_after(&self, offset: u64) -> io::Result<u64> {
        let end = self.file.metadata()?.len();
        let from = i64::try_from(offset).unwrap_or(i64::MAX);
        Ok(match lseek(&self.file, from, Whence::SeekData) {
            Ok(data) => u64::try_from(data).unwrap_or(offset),
            Err(Errno::ENXIO) => end,
            Err(_) => offset,
        })
    }

    /// Where to read on in a copy that was made of this file before it was rewritten; nothing if it holds nothing new.
    pub fn resume_in(&self, copy: &File) -> io::Result<Option<u64>> {
        if !begin_alike(copy, &self.head)? {
            // Of a later content, which was cut as well before we saw it.
            return Ok(Some(0));
        }
        let mut found = vec![0; self.tail.len()];
        match copy.read_exact_at(&mut found, self.offset - self.tail.len() as u64) {
            // An earlier copy, all of which was read.
            Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
            read => read.map(|()| (found == self.tail).then_some(self.offset)),
        }
    }

    /// Keeps the file's identity from being given to another.
    pub fn hold(&self) -> io::Result<File> {
        self.file.try_clone()
    }

    /// Forgets what was read.
    pub fn rewind(&mut self) {
        self.offset = 0;
        self.head.clear();
        self.tail.clear();
    }

    /// The first bytes that are there at the moment.
    pub fn peek(&self) -> io::Result<Vec<u8>> {
        beginning(&self.file)
    }

    /// The same file from its beginning.
    pub fn anew(&self) -> io::Result<Self> {
        Self::at(self.file.try_clone()?, self.id, 0)
    }

    /// Bytes that were not read.
    pub fn unread(&self) -> u64 {
        self.file.metadata().map_or(0, |meta| meta.len().saturating_sub(self.offset))
    }

    /// Whether the last byte that was written is no newline.
    pub fn ends_within_a_line(&self) -> bool {
        let mut last = [b'\n'];
        let end = self.file.metadata().map_or(0, |meta| meta.len());
        // Unreadable is as good as whole: it only decides how the next line is marked.
        end > 0 && self.file.read_at(&mut last, end - 1).is_ok() && last != *b"\n"
    }

    /// Whether the file has no name any more.
    pub fn is_deleted(&self) -> bool {
        self.file.metadata().is_ok_and(|meta| meta.nlink() == 0)
    }
}

/// Whether a file and these bytes begin in the same way, as far as both go; an empty file is nothing new to anybody.
pub fn begin_alike(file: &File, head: &[u8]) -> io::Result<bool> {
    let found = beginning(file)?;
    let length = found.len().min(head.len());
    Ok(found.is_empty() || (length > 0 && found[..length] == head[..length]))
}

fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; MARK];
    let length = file.read_at(&mut head, 0)?;
    head.truncate(length);
    Ok(head)
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::Write;
    use std::path::Path;

    use super::*;

    fn open(path: &Path, offset: u64) -> Generation {
        let file = File::open(path).unwrap();
        let id = FileId::of(&file.metadata().unwrap());
        Generation::at(file, id, offset).unwrap()
    }

    fn all(generation: &mut Generation) -> Vec<u8> {
        let mut buffer = [0; 100];
        let mut bytes = Vec::new();
        while let Read::New(new) = generation.read(&mut buffer).unwrap() {
            bytes.extend_from_slice(new);
        }
        bytes
    }

    #[test]
    fn what_is_appended_is_read_once() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, vec![b'a'; 150]).unwrap();
        let mut generation = open(&path, 100);
        assert_eq!(all(&mut generation), vec![b'a'; 50]);
        fs::OpenOptions::new().append(true).open(&path).unwrap().write_all(b"bcd").unwrap();
        assert_eq!(all(&mut generation), b"bcd");
        assert_eq!((generation.offset(), generation.read(&mut [0; 100]).unwrap()), (153, Read::End));
    }

    #[test]
    fn a_cut_file_is_noticed_even_when_it_has_grown_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        for later in ["", "short", "something that is longer than what there was"] {
            fs::write(&path, "what there was").unwrap();
            let mut generation = open(&path, 0);
            all(&mut generation);
            fs::write(&path, later).unwrap();
            assert_eq!(generation.read(&mut [0; 100]).unwrap(), Read::Rewritten, "{later:?}");
            assert_eq!(all(&mut generation.anew().unwrap()), later.as_bytes());
        }
    }

    #[test]
    fn a_file_written_anew_with_the_same_bytes_at_our_place_is_noticed() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        let line = "=".repeat(200);
        fs::write(&path, format!("1{line}")).unwrap();
        let mut generation = open(&path, 0);
        all(&mut generation);
        fs::write(&path, format!("2{line}{line}")).unwrap();
        assert_eq!(generation.read(&mut [0; 100]).unwrap(), Read::Rewritten);
    }

    #[test]
    fn a_hole_that_a_cut_left_is_stepped_over() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        // Its writer goes on where it was, because it does not append.
        let file = File::create(&path).unwrap();
        file.write_all_at(b"end\n", 10_000_000_000).unwrap();
        let (mut generation, mut buffer, mut got) = (open(&path, 0), vec![0; 64 * 1024], Vec::new());
        while got.len() < 1_000_000
            && let Read::New(new) = generation.read(&mut buffer).unwrap()
        {
            got.extend_from_slice(new);
        }
        assert!(got.len() < 1_000_000 && got.ends_with(b"end\n"), "{}", got.len());
        file.set_len(20_000_000_000).unwrap();
        while let Read::New(new) = generation.read(&mut buffer).unwrap() {
            got.extend_from_slice(new);
            assert!(got.len() < 1_000_000);
        }
        assert_eq!(generation.offset(), 20_000_000_000);
    }

    #[test]
    fn a_copy_is_read_on_where_the_original_was_left() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "one\ntwo\n").unwrap();
        let mut generation = open(&path, 0);
        all(&mut generation);
        let resume = |copy: &str| {
            let path = dir.path().join("copy");
            fs::write(&path, copy).unwrap();
            generation.resume_in(&File::open(path).unwrap()).unwrap()
        };
        assert_eq!(resume("one\ntwo\nthree\n"), Some(8));
        assert_eq!(resume("one\ntwo\n"), Some(8), "complete, and nothing new");
        assert_eq!(resume("one\n"), None, "an earlier copy");
        assert_eq!(resume("four\nfive\nsix\n"), Some(0), "written after a cut that nobody saw");
    }

    #[test]
    fn a_file_that_is_shorter_than_remembered_is_read_from_its_beginning() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x.log");
        fs::write(&path, "new").unwrap();
        assert_eq!(all(&mut open(&path, 10)), b"new");
    }
}
