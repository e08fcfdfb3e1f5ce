//! The records of a ledger's log: three fields that end in NUL each, because names may hold any other byte.

use std::ffi::OsStr;
use std::io::{self, BufRead, Read as _};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

/// No path in a record is longer, in bytes: the volume's users can write one of the logs.
const LONGEST: u64 = 64 << 10;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// This link leads to its own name in that directory.
    Link(&'a Path, &'a Path),
    /// It no longer does, or is no longer ours.
    Unlink(&'a Path, &'a Path),
    /// We made this directory.
    Directory(&'a Path),
    /// It is no longer there, or no longer ours.
    Forget(&'a Path),
    /// None of ours.
    Other,
}

impl<'a> Record<'a> {
    /// Appends it.
    pub fn write(self, log: &mut Vec<u8>) {
        let (operation, path, source) = match self {
            Self::Link(path, source) => ("+", path, source),
            Self::Unlink(path, source) => ("-", path, source),
            Self::Directory(path) => ("d", path, Path::new("")),
            Self::Forget(path) => ("f", path, Path::new("")),
            Self::Other => return,
        };
        for field in [OsStr::new(operation), path.as_os_str(), source.as_os_str()] {
            log.extend_from_slice(field.as_bytes());
            log.push(0);
        }
    }

    /// The directory and the name that it is about.
    pub fn link(self) -> Option<(&'a Path, &'a [u8])> {
        match self {
            Self::Link(path, _) | Self::Unlink(path, _) | Self::Directory(path) | Self::Forget(path) => {
                Some((path.parent()?, path.file_name()?.as_bytes()))
            }
            Self::Other => None,
        }
    }
}

/// What comes next in a log.
#[derive(Debug, PartialEq, Eq)]
pub enum Read<'a> {
    /// A record.
    Whole(Record<'a>),
    /// A part of one.
    Torn,
    /// Nothing.
    End,
}

/// A log that is read.
#[derive(Debug)]
pub struct Records<R> {
    log: R,
    fields: [Vec<u8>; 3],
}

impl<R: BufRead> Records<R> {
    /// From where the log is.
    pub fn new(log: R) -> Self {
        Self { log, fields: Default::default() }
    }

    /// The next record.
    pub fn next(&mut self) -> io::Result<Read<'_>> {
        for (index, field) in self.fields.iter_mut().enumerate() {
            field.clear();
            (&mut self.log).take(LONGEST).read_until(0, field)?;
            match field.pop() {
                Some(0) => {}
                None if index == 0 => return Ok(Read::End),
                _ => return Ok(Read::Torn),
            }
        }
        let [operation, path, source] =
            self.fields.each_ref().map(|field| Path::new(OsStr::from_bytes(field)));
        Ok(Read::Whole(match operation.as_os_str().as_bytes() {
            b"+" => Record::Link(path, source),
            b"-" => Record::Unlink(path, source),
            b"d" => Record::Directory(path),
            b"f" => Record::Forget(path),
            _ => Record::Other,
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_part_of_it_is_torn() {
        let all = [
            Record::Link(Path::new("/t/a\n"), Path::new("/s")),
            Record::Unlink(Path::new("/t/a\n"), Path::new("/s")),
            Record::Directory(Path::new("/t/d")),
            Record::Forget(Path::new("/t/d")),
        ];
        let mut log = Vec::new();
        let ends = all.map(|record| {
            record.write(&mut log);
            log.len()
        });
        for length in 0..=log.len() {
            let mut records = Records::new(&log[..length]);
            let whole = ends.iter().filter(|end| **end <= length).count();
            for record in &all[..whole] {
                assert_eq!(records.next().unwrap(), Read::Whole(*record));
            }
            let end = if length == 0 || ends.contains(&length) { Read::End } else { Read::Torn };
            assert_eq!(records.next().unwrap(), end, "{length}");
        }
        assert_eq!(Records::new(&b"x\0/t\0/s\0"[..]).next().unwrap(), Read::Whole(Record::Other));
        let endless = [b"+\0", "x".repeat(1 << 17).as_bytes(), b"\0\0"].concat();
        assert_eq!(Records::new(&endless[..]).next().unwrap(), Read::Torn);
    }
}
