//! Times of lines, and the lines of a time.

use std::io;

use anyhow::{Context, Result};

use super::{Log, OPEN};
use crate::content::Content;
use crate::line_time;
use crate::pieces::{self, End};
use crate::position::Position;
use crate::time_index::TimeIndex;

/// Size of one read in bytes while a time is searched.
const PROBE: usize = 32 * 1024;
/// Number of bytes after which the search for a line with a time is given up.
const MAX_PROBE: u64 = 1024 * 1024;

impl Log {
    /// Returns the first line that may be of a time or later, in seconds since 1970; the end if all are earlier.
    pub fn position_at(&mut self, time: f64) -> Result<Position> {
        let last = self.segments.len().saturating_sub(1);
        let mut first = self.segments.iter().position(|segment| segment.modified >= time).unwrap_or(last);
        // Read later than written.
        while first > 0 && self.index(first - 1).end_time().is_some_and(|end| end > time) {
            first -= 1;
        }
        for index in first..self.segments.len() {
            let Some(content) = self.content(index) else { continue };
            self.segments[index].head = content.head().with_context(|| self.cannot(index))?;
            let found = self.offset_at(index, &content, time).with_context(|| self.cannot(index))?;
            if let Some(offset) = found {
                return Ok(Position { file: self.segments[index].key(), offset });
            }
        }
        Ok(self.end())
    }

    /// Returns the end of the lines that may be earlier than a time.
    pub fn end_before(&mut self, time: f64) -> Result<Position> {
        let at = self.position_at(time)?;
        let (index, _) = self.locate(at)?;
        if self.segments.is_empty() {
            return Ok(at);
        }
        // Recorded times are those of the beginnings of intervals: one that begins earlier may have earlier lines.
        let interval = self.time_tolerance(index);
        self.position_at((time + interval).next_down())
    }

    /// Returns the time of a line that begins at a position.
    #[must_use]
    pub fn time_at(&mut self, at: Position, line: &[u8]) -> Option<f64> {
        let index = self.segments.iter().position(|segment| at.file.is_file(segment.named.id))?;
        self.time_of(index, at.offset, line)
    }

    /// Returns the time of a line of a file.
    pub(crate) fn time_of(&mut self, index: usize, offset: u64, text: &[u8]) -> Option<f64> {
        self.index(index).time_of(offset).or_else(|| line_time::of_line(text))
    }

    /// Returns the time index of a file, empty if there is none.
    pub(crate) fn index(&mut self, index: usize) -> &TimeIndex {
        let id = self.segments[index].named.id;
        if let Some(at) = self.indexes.iter().position(|(of, _)| *of == id) {
            return &self.indexes[at].1;
        }
        let mut found = TimeIndex::read(&self.times, id).unwrap_or_default();
        found.truncate(self.segments[index].length);
        if self.indexes.len() >= OPEN {
            self.indexes.pop_front();
        }
        self.indexes.push_back((id, found));
        &self.indexes[self.indexes.len() - 1].1
    }

    fn offset_at(&mut self, index: usize, content: &Content, time: f64) -> io::Result<Option<u64>> {
        let length = content.len()?;
        let times = self.index(index);
        let unknown = times.begin().unwrap_or(length);
        let is_recorded = times.begin().is_some();
        let recorded = times.offset_at(time);
        // Earlier than the first record: only the lines themselves can tell.
        if unknown > 0 && (!is_recorded || recorded == times.begin()) {
            let found = search_lines(content, unknown, time)?;
            return Ok(match found {
                Lines::At(offset) => Some(offset),
                Lines::Before => recorded,
                Lines::Timeless if is_recorded => recorded,
                Lines::Timeless => (self.segments[index].modified >= time).then_some(0),
            });
        }
        Ok(recorded.map(|offset| offset.min(length)))
    }
}

/// Result of a search in the times of lines.
#[derive(Debug, PartialEq)]
enum Lines {
    /// The first line of the time or later.
    At(u64),
    /// All lines are earlier.
    Before,
    /// No line has a time.
    Timeless,
}

/// Searches the first line before `end` of a time or later: halves the range, and reads what is left.
fn search_lines(content: &Content, end: u64, time: f64) -> io::Result<Lines> {
    let (mut low, mut high) = (0, end);
    // A line that begins at `high` or later, and is not earlier.
    let (mut later, mut any) = (None, false);
    while high - low > PROBE as u64 {
        let middle = low + (high - low) / 2;
        match timed_line(content, middle, true, high, |_| true)? {
            Some(line) if line.time < time => (low, any) = (line.end, true),
            Some(line) => (high, later, any) = (middle, Some(line.begin), true),
            None => high = middle,
        }
    }
    let wanted = |found: f64| {
        any = true;
        found >= time
    };
    let first = timed_line(content, low, false, high, wanted)?.map(|line| line.begin);
    Ok(match first.or(later) {
        Some(offset) => Lines::At(offset),
        None if any => Lines::Before,
        None => Lines::Timeless,
    })
}

/// A line with a time.
struct TimedLine {
    begin: u64,
    end: u64,
    time: f64,
}

/// Returns the first line that begins between two offsets and has a wanted time. The first offset may be `inside` a line.
fn timed_line(
    content: &Content,
    from: u64,
    inside: bool,
    to: u64,
    mut wanted: impl FnMut(f64) -> bool,
) -> io::Result<Option<TimedLine>> {
    let mut buffer = vec![0; PROBE * 3];
    let (mut begin, mut skip) = if inside { (from - 1, true) } else { (from, false) };
    while begin < to && begin.saturating_sub(from) < MAX_PROBE {
        let got = content.fill_at(&mut buffer, begin)?;
        let is_end = got < buffer.len();
        let mut rest = &buffer[..got];
        if skip {
            // In a line without an end, a cut is as good.
            let length = memchr::memchr(b'\n', rest).map_or(rest.len(), |newline| newline + 1);
            (begin, rest, skip) = (begin + length as u64, &rest[length..], length == got && !is_end);
        }
        while !rest.is_empty() && begin < to {
            let next = match pieces::end(rest, begin) {
                End::Newline(end) => end + 1,
                End::Cut(end) => end,
                End::Open if is_end => rest.len(),
                End::Open => break,
            };
            let end = begin + next as u64;
            if let Some(time) = line_time::of_line(&rest[..next]).filter(|time| wanted(*time)) {
                return Ok(Some(TimedLine { begin, end, time }));
            }
            (begin, rest) = (end, &rest[next..]);
        }
        if is_end {
            break;
        }
    }
    Ok(None)
}
