//! Recognition of a file, and of its copies, by their content.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use serde::{Deserialize, Serialize};

/// Length of each part of a fingerprint in bytes: longer than a separator line.
const LENGTH: usize = 256;
/// Length of each end of a copy that is compared with its original, in bytes.
const COMPARED: u64 = 4096;

/// First bytes of a file, and last bytes before an offset.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fingerprint {
    head: Vec<u8>,
    tail: Vec<u8>,
    /// Offset at which the tail ends.
    end: u64,
}

impl Fingerprint {
    /// Reads the fingerprint before an offset; nothing if the file is shorter.
    pub fn read(file: &File, end: u64) -> io::Result<Option<Self>> {
        let length = LENGTH.min(usize::try_from(end).unwrap_or(LENGTH));
        let head = bytes_at(file, 0, length)?;
        let tail = bytes_at(file, end - length as u64, length)?;
        Ok(head.zip(tail).map(|(head, tail)| Self { head, tail, end }))
    }

    pub fn end(&self) -> u64 {
        self.end
    }

    pub fn head(&self) -> &[u8] {
        &self.head
    }

    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// Advances the offset: `got` is the tail, followed by what was read.
    pub fn advance(&mut self, got: &[u8]) {
        let new = &got[self.tail.len()..];
        let missing = LENGTH.saturating_sub(self.head.len()).min(new.len());
        self.head.extend_from_slice(&new[..missing]);
        self.end += new.len() as u64;
        self.tail = got[got.len() - LENGTH.min(got.len())..].to_vec();
    }

    /// Moves the offset to the end of a hole.
    pub fn skip_hole(&mut self, end: u64) {
        self.end = end;
        self.tail = vec![0; LENGTH];
    }

    /// True if a file has these bytes at the same offsets.
    pub fn matches(&self, file: &File) -> io::Result<bool> {
        let Some(begin) = self.end.checked_sub(self.tail.len() as u64) else { return Ok(false) };
        let tail = bytes_at(file, begin, self.tail.len())?;
        Ok(tail.is_some_and(|tail| tail == self.tail)
            && bytes_at(file, 0, self.head.len())?.is_some_and(|head| head == self.head))
    }

    /// True if a file is a prefix of what was read: it ends before the offset, and starts with the same bytes.
    pub fn is_prefix(&self, file: &File) -> io::Result<bool> {
        let found = beginning(file)?;
        let length = found.len().min(self.head.len());
        Ok(file.metadata()?.len() < self.end && found[..length] == self.head[..length])
    }
}

/// Returns the first bytes of a file.
pub fn beginning(file: &File) -> io::Result<Vec<u8>> {
    let mut head = vec![0; LENGTH];
    let length = file.read_at(&mut head, 0)?;
    head.truncate(length);
    Ok(head)
}

/// True if a file starts with the content of a copy, judged by both ends of the copy.
pub fn is_copy(copy: &File, of: &File) -> io::Result<bool> {
    // Before the file is read, which may grow or be truncated meanwhile.
    let length = copy.metadata()?.len();
    let size = length.min(COMPARED);
    for begin in [0, length - size] {
        let size = usize::try_from(size).unwrap_or_default();
        let Some(bytes) = bytes_at(copy, begin, size)? else { return Ok(false) };
        if bytes_at(of, begin, size)?.is_none_or(|found| found != bytes) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// Returns `length` bytes of a file; nothing if it ends before.
fn bytes_at(file: &File, begin: u64, length: usize) -> io::Result<Option<Vec<u8>>> {
    let mut bytes = vec![0; length];
    match file.read_exact_at(&mut bytes, begin) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => Ok(None),
        read => read.map(|()| Some(bytes)),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn file(text: &str) -> File {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("x"), text).unwrap();
        File::open(dir.path().join("x")).unwrap()
    }

    #[test]
    fn a_mark_is_found_where_both_its_ends_are() {
        let mark = Fingerprint::read(&file("one\ntwo\nthree\n"), 8).unwrap().unwrap();
        assert!(mark.matches(&file("one\ntwo\nfour\n")).unwrap());
        for other in ["", "one\n", "one\nten\nthree\n", "six\ntwo\nthree\n"] {
            assert!(!mark.matches(&file(other)).unwrap(), "{other:?}");
        }
        assert_eq!(Fingerprint::read(&file("one\n"), 8).unwrap(), None);
    }

    #[test]
    fn a_copy_is_no_longer_than_its_original_and_the_same_at_both_ends() {
        let original = format!("begin\n{}end\n", "tick\n".repeat(2_000));
        for (copy, alike) in [
            ("", true),
            (original.as_str(), true),
            (&original[..9_000], true),
            (&format!("{original}more\n"), false),
            (&original.replace("end", "End"), false),
            (&original.replace("begin", "Begin"), false),
        ] {
            assert_eq!(is_copy(&file(copy), &file(&original)).unwrap(), alike, "{}", copy.len());
        }
    }
}
