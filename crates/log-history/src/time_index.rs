//! When `logtail follow` read which byte of a log file.
//!
//! One file for each log file, below `/var/lib/logtail/times`, named by its identity. It is appended to; a record says that
//! the byte at an offset was read at a time, and those up to the next record at most an interval later. A log that is
//! written to for a long time gets a coarser interval, so that the file stays small. A kill loses times, nothing else.

mod recorder;

use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use kit::missing_ok;
use nix::errno::Errno;

pub use recorder::Recorder;

use crate::file_id::FileId;

/// First bytes of the file; the interval in milliseconds follows.
const MAGIC: &[u8; 8] = b"logtime1";
/// Length of the header, and of a record, in bytes.
const RECORD: usize = 16;
/// Maximum number of records of a file: 256 KiB.
const MAX_RECORDS: usize = 16 * 1024;
/// Shortest interval in milliseconds.
const INTERVAL: u64 = 1_000;

/// The byte at an offset was read at a time, in milliseconds since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// Time of reading.
    pub time: u64,
    /// Offset in the log file.
    pub offset: u64,
}

/// The times of one log file. Offsets ascend; times do not, where the clock was set back.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TimeIndex {
    interval: u64,
    records: Vec<Record>,
}

impl TimeIndex {
    /// Reads the times of a file; none if there are none, or if they are damaged from the first on.
    pub fn read(directory: &Path, id: FileId) -> io::Result<Self> {
        let Some(file) = open(directory, id)? else { return Ok(Self::default()) };
        let mut bytes = Vec::new();
        file.take((RECORD * (MAX_RECORDS + 2)) as u64).read_to_end(&mut bytes)?;
        Ok(Self::parse(&bytes))
    }

    /// Parses a file, up to the first record that a kill or a damage has left incomplete.
    fn parse(bytes: &[u8]) -> Self {
        let (chunks, _) = bytes.as_chunks::<RECORD>();
        let numbers = |chunk: &[u8; RECORD]| {
            let (one, other) = chunk.split_at(8);
            let number = |half: &[u8]| half.try_into().map_or(0, u64::from_le_bytes);
            (number(one), number(other))
        };
        let Some((header, records)) = chunks.split_first() else { return Self::default() };
        let (magic, interval) = numbers(header);
        if magic.to_le_bytes() != *MAGIC || !(INTERVAL..1 << 40).contains(&interval) {
            return Self::default();
        }
        let mut index = Self { interval, records: Vec::with_capacity(records.len()) };
        for (time, offset) in records.iter().map(numbers) {
            if index.records.last().is_some_and(|last| offset <= last.offset) {
                break;
            }
            index.records.push(Record { time, offset });
        }
        index
    }

    fn to_bytes(&self) -> Vec<u8> {
        let mut bytes = [*MAGIC, self.interval.to_le_bytes()].concat();
        self.records.iter().for_each(|record| bytes.extend(record.to_bytes()));
        bytes
    }

    /// Drops records of bytes that the file does not have.
    pub fn truncate(&mut self, length: u64) {
        self.records.truncate(self.records.partition_point(|record| record.offset < length));
    }

    /// Returns the time before which all bytes were read, unless more were appended since.
    #[must_use]
    pub fn end_time(&self) -> Option<f64> {
        self.records.last().map(|last| seconds(last.time) + self.interval())
    }

    /// Returns the interval of the records in seconds; 0 without any.
    #[must_use]
    pub fn interval(&self) -> f64 {
        if self.records.is_empty() { 0.0 } else { seconds(self.interval) }
    }

    /// Returns the offset of the first record; bytes before it have no time.
    #[must_use]
    pub fn begin(&self) -> Option<u64> {
        self.records.first().map(|record| record.offset)
    }

    /// Returns the time at which a byte was read, in seconds since 1970.
    #[must_use]
    pub fn time_of(&self, offset: u64) -> Option<f64> {
        let after = self.records.partition_point(|record| record.offset <= offset);
        Some(seconds(self.records[after.checked_sub(1)?].time))
    }

    /// Returns the offset of the first bytes that may have been read at a time or later.
    #[must_use]
    pub fn offset_at(&self, time: f64) -> Option<u64> {
        // Not a binary search: the clock may have been set back.
        let interval = seconds(self.interval);
        let mut records = self.records.iter().peekable();
        while let Some(record) = records.next() {
            // Bytes of the last record may have been read until now, but not later than an interval.
            if time < seconds(record.time) + interval {
                return Some(record.offset);
            }
            if let Some(next) = records.peek()
                && time <= seconds(next.time)
            {
                return Some(next.offset);
            }
        }
        None
    }
}

impl Record {
    fn to_bytes(self) -> [u8; RECORD] {
        let mut bytes = [0; RECORD];
        bytes[..8].copy_from_slice(&self.time.to_le_bytes());
        bytes[8..].copy_from_slice(&self.offset.to_le_bytes());
        bytes
    }
}

#[expect(clippy::cast_precision_loss, reason = "53 bits of milliseconds last for 285,000 years")]
fn seconds(milliseconds: u64) -> f64 {
    milliseconds as f64 / 1e3
}

/// Directory of the indexes below a root directory.
#[must_use]
pub fn directory(root: &Path) -> PathBuf {
    root.join("var/lib/logtail/times")
}

/// Name of the index of a log file.
fn name(id: FileId) -> String {
    format!("{:016x}", id.digest())
}

fn open(directory: &Path, id: FileId) -> io::Result<Option<File>> {
    let Some(directory) = missing_ok(nix_io(dirfd::open_root(directory)))? else { return Ok(None) };
    match dirfd::open_file(directory, name(id).as_str()) {
        Err(Errno::ELOOP) => Ok(None),
        opened => nix_io(opened),
    }
}

fn nix_io<T>(result: nix::Result<T>) -> io::Result<T> {
    result.map_err(io::Error::from)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn index(records: &[(u64, u64)]) -> TimeIndex {
        let records = records.iter().map(|&(time, offset)| Record { time: time * 1_000, offset }).collect();
        TimeIndex { interval: INTERVAL, records }
    }

    #[test]
    fn a_time_leads_to_the_first_bytes_that_may_be_of_it() {
        let burst = index(&[(10, 0), (11, 500), (20, 900)]);
        let set_back = index(&[(100, 0), (101, 10), (50, 20), (51, 30)]);
        for (index, time, offset) in [
            (&burst, 5.0, Some(0)),
            (&burst, 10.5, Some(0)),
            (&burst, 11.0, Some(500)),
            (&burst, 11.9, Some(500)),
            (&burst, 12.0, Some(900)),
            (&burst, 20.9, Some(900)),
            (&burst, 21.0, None),
            (&set_back, 100.5, Some(0)),
            (&set_back, 51.5, Some(0)),
            (&set_back, 200.0, None),
            (&index(&[]), 5.0, None),
        ] {
            assert_eq!(index.offset_at(time), offset, "{time}");
        }
        let times = [0, 499, 500, 899, 10_000].map(|offset| burst.time_of(offset));
        assert_eq!(times, [10.0, 10.0, 11.0, 11.0, 20.0].map(Some));
        assert_eq!((index(&[(1, 7)]).time_of(6), index(&[(1, 7)]).begin()), (None, Some(7)));
    }

    #[test]
    fn a_damaged_index_gives_what_is_before_the_damage() {
        let whole = index(&[(1, 0), (2, 10), (3, 20)]);
        let bytes = whole.to_bytes();
        let swapped = index(&[(1, 0), (2, 10), (3, 5)]).to_bytes();
        for (bytes, records) in [
            (&bytes[..], 3),
            (&bytes[..bytes.len() - 1], 2),
            (&bytes[..17], 0),
            (&bytes[..7], 0),
            (&[0; 64], 0),
            (b"", 0),
            (&swapped, 2),
        ] {
            assert_eq!(TimeIndex::parse(bytes).records, whole.records[..records]);
        }
    }
}
