//! Records of the log: reads them into memory, and writes memory as a shorter log.
//!
//! A record is three fields that end in NUL each, because names may contain any other byte.

use std::collections::BTreeMap;
use std::ffi::OsStr;
use std::io::{self, BufRead, Read as _, Write};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::Result;

use super::{Ledger, LinkSet, SourceId};
use crate::execute::link_target;

/// Limit of a path in a record, in bytes: the volume's users can write one of the logs.
const MAX_LENGTH: u64 = 64 << 10;
/// Size of the pieces in which a log is written, in bytes.
const CHUNK: usize = 64 << 10;

/// One record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Record<'a> {
    /// This link leads to its own name in that directory.
    Link(&'a Path, &'a Path),
    /// The link was removed, or belongs to another program now.
    Unlink(&'a Path, &'a Path),
    /// We created this directory.
    Directory(&'a Path),
    /// The directory was removed, or belongs to another program now.
    Forget(&'a Path),
    /// Unknown record.
    Other,
}

impl<'a> Record<'a> {
    /// Appends the record.
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

    /// Directory and name that the record is about.
    fn link(self) -> Option<(&'a Path, &'a [u8])> {
        match self {
            Self::Link(path, _) | Self::Unlink(path, _) | Self::Directory(path) | Self::Forget(path) => {
                Some((path.parent()?, path.file_name()?.as_bytes()))
            }
            Self::Other => None,
        }
    }
}

/// Reads a log to its end, or to a record that a kill cut off.
#[derive(Debug)]
struct Records<R> {
    log: R,
    fields: [Vec<u8>; 3],
    /// Bytes of the complete records so far.
    whole: u64,
}

impl<R: BufRead> Records<R> {
    fn new(log: R) -> Self {
        Self { log, fields: Default::default(), whole: 0 }
    }

    fn next(&mut self) -> io::Result<Option<Record<'_>>> {
        for field in &mut self.fields {
            field.clear();
            (&mut self.log).take(MAX_LENGTH).read_until(0, field)?;
            if field.pop() != Some(0) {
                return Ok(None);
            }
        }
        self.whole += self.fields.iter().map(|field| field.len() as u64 + 1).sum::<u64>();
        let [operation, path, source] =
            self.fields.each_ref().map(|field| Path::new(OsStr::from_bytes(field)));
        Ok(Some(match operation.as_os_str().as_bytes() {
            b"+" => Record::Link(path, source),
            b"-" => Record::Unlink(path, source),
            b"d" => Record::Directory(path),
            b"f" => Record::Forget(path),
            _ => Record::Other,
        }))
    }
}

/// Links of the directory of the last record: most records are about the same directory as the one before.
struct Current {
    target: Arc<Path>,
    links: LinkSet,
}

impl Ledger {
    /// Applies all records; fails if there are more than `most`. Returns the length of the complete records.
    pub(super) fn replay(
        &mut self,
        log: impl BufRead,
        is_trusted: impl Fn(&Path, &Path) -> bool,
        most: usize,
    ) -> io::Result<u64> {
        let mut records = Records::new(log);
        let mut current = Current { target: Path::new("").into(), links: LinkSet::new() };
        // Former sources of links that were recorded again with another source: a kill may have left the old link.
        let mut replaced: BTreeMap<(Arc<Path>, Box<[u8]>), SourceId> = BTreeMap::new();
        while let Some(record) = records.next()? {
            self.records += 1;
            if self.records > most {
                return Err(io::Error::other(format!("it has more than {most} records")));
            }
            let Some((directory, name)) = record.link() else { continue };
            match record {
                Record::Directory(path) if is_trusted(directory, Path::new("")) => {
                    self.insert_directory(path);
                }
                Record::Forget(path) => _ = self.directories.remove(path),
                Record::Link(_, source) if is_trusted(directory, source) => {
                    let source = self.source_id(source);
                    self.switch(&mut current, directory);
                    if let Some(former) = current.links.insert(name.into(), source).filter(|id| *id != source)
                    {
                        replaced.insert((Arc::clone(&current.target), name.into()), former);
                    }
                }
                Record::Unlink(_, source) if is_trusted(directory, source) => {
                    // No link of ours points into a source without an id.
                    let Some(source) = self.find_source(source.as_os_str()) else { continue };
                    self.switch(&mut current, directory);
                    if current.links.get(name) == Some(&source) {
                        current.links.remove(name);
                    }
                    if !replaced.is_empty() {
                        replaced.remove(&(Arc::clone(&current.target), name.into()));
                    }
                }
                Record::Directory(_) | Record::Link(..) | Record::Unlink(..) | Record::Other => {}
            }
        }
        self.switch(&mut current, Path::new(""));
        for ((target, name), former) in replaced {
            let text = std::fs::read_link(target.join(OsStr::from_bytes(&name)));
            if text.is_ok_and(|text| *text.as_os_str() == *link_target(self.source(former), &name)) {
                self.insert(&target, name, former);
            }
        }
        Ok(records.whole)
    }

    /// Stores the current links, and takes out those of another directory.
    fn switch(&mut self, current: &mut Current, directory: &Path) {
        if current.target.as_os_str() == directory.as_os_str() {
            return;
        }
        let (target, links) =
            self.links.remove_entry(directory).unwrap_or_else(|| (directory.into(), LinkSet::new()));
        self.count -= links.len();
        let former = std::mem::replace(current, Current { target, links });
        self.count += former.links.len();
        if !former.links.is_empty() {
            self.links.insert(former.target, former.links);
        }
    }

    /// Replaces the log by one without history.
    pub(super) fn compact(&mut self) -> Result<()> {
        let Self { file, directories, links, sources, .. } = self;
        file.replace(|log| {
            let mut records = Vec::new();
            for path in directories.iter() {
                Record::Directory(path).write(&mut records);
            }
            for (target, links) in links.iter() {
                for (name, source) in links {
                    let path = target.join(OsStr::from_bytes(name));
                    Record::Link(&path, Path::new(&sources[*source as usize])).write(&mut records);
                    if records.len() >= CHUNK {
                        log.write_all(&records)?;
                        records.clear();
                    }
                }
            }
            log.write_all(&records)
        })?;
        self.records = self.count + self.directories.len();
        self.torn = None;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_read_as_they_were_written_up_to_a_torn_one() {
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
                assert_eq!(records.next().unwrap(), Some(*record));
            }
            assert_eq!(records.next().unwrap(), None, "{length}");
            assert_eq!(records.whole, whole.checked_sub(1).map_or(0, |last| ends[last] as u64), "{length}");
        }
        assert_eq!(Records::new(&b"x\0/t\0/s\0"[..]).next().unwrap(), Some(Record::Other));
        let endless = [b"+\0", "x".repeat(1 << 17).as_bytes(), b"\0\0"].concat();
        assert_eq!(Records::new(&endless[..]).next().unwrap(), None);
    }
}
