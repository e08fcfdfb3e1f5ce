//! Lines and bytes around a position.

use anyhow::{Context, Result};

use super::{Line, Log};
use crate::content::Content;
use crate::pieces::{self, End, LOOKBACK, LOOKBACK_LENGTH};
use crate::position::Position;

/// Size of one read in bytes: more than the longest piece.
const CHUNK: usize = 256 * 1024;

impl Log {
    /// Returns lines from a position on, oldest first, until there are `max_lines` or more than `max_bytes`.
    pub fn lines_after(&mut self, at: Position, max_lines: usize, max_bytes: usize) -> Result<Vec<Line>> {
        let (first, begin) = self.locate(at)?;
        let (mut lines, mut bytes) = (Vec::new(), 0);
        for index in first..self.segments.len() {
            let Some(content) = self.content(index) else { continue };
            let mut buffer = vec![0; CHUNK.min(max_bytes.saturating_add(LOOKBACK_LENGTH))];
            let mut offset = if index == first { begin } else { 0 };
            let mut previous = None;
            loop {
                let got = content.fill_at(&mut buffer, offset).with_context(|| self.cannot(index))?;
                let is_end = got < buffer.len();
                let mut rest = &buffer[..got];
                while !rest.is_empty() {
                    if lines.len() >= max_lines || bytes >= max_bytes {
                        return Ok(lines);
                    }
                    let (length, next, truncated, ended) = match pieces::end(rest, offset) {
                        End::Newline(end) => (end, end + 1, false, true),
                        End::Cut(end) => (end, end, true, false),
                        End::Open if is_end => (rest.len(), rest.len(), false, false),
                        End::Open => break,
                    };
                    let line = self.line(index, offset, &rest[..length], next, previous);
                    let line = Line { truncated, ended, ..line };
                    (previous, bytes) = (line.time, bytes + length);
                    lines.push(line);
                    offset += next as u64;
                    rest = &rest[next..];
                }
                if is_end {
                    break;
                }
            }
        }
        Ok(lines)
    }

    /// Returns the lines before a position, oldest first, until there are `max_lines` or more than `max_bytes`.
    pub fn lines_before(&mut self, at: Position, max_lines: usize, max_bytes: usize) -> Result<Vec<Line>> {
        let (last, offset) = self.locate(at)?;
        let (mut found, mut bytes) = (Vec::new(), 0);
        for index in (0..=last.min(self.segments.len().saturating_sub(1))).rev() {
            if self.segments.is_empty() || found.len() >= max_lines || bytes >= max_bytes {
                break;
            }
            let Some(content) = self.content(index) else { continue };
            let length = || content.len().with_context(|| self.cannot(index));
            let mut end = if index == last { offset } else { length()? };
            let mut window = Window::default();
            let begin = found.len();
            while end > 0 && found.len() < max_lines && bytes < max_bytes {
                let chunk = CHUNK.min(max_bytes.saturating_add(LOOKBACK_LENGTH));
                window.load(&content, end, chunk).with_context(|| self.cannot(index))?;
                let Some((start, length)) = window.last_piece(end) else {
                    // Truncated, or compressed and shorter than estimated.
                    let length = content.len().with_context(|| self.cannot(index))?;
                    if length >= end {
                        break;
                    }
                    (end, window) = (length, Window::default());
                    continue;
                };
                let text = window.bytes(start, length);
                let next = usize::try_from(end - start).unwrap_or(length);
                let ended = next > length;
                let line = self.line(index, start, text, next, None);
                // What continues has no newline, and is not at the end of the file.
                let truncated = !ended && found.len() > begin;
                bytes += length;
                found.push(Line { truncated, ended, ..line });
                end = start;
            }
            inherit_times(&mut found[begin..]);
        }
        found.reverse();
        Ok(found)
    }

    /// Appends at most `max` bytes from a position on to a buffer; returns the position after them.
    ///
    /// Without new bytes, it returns the same position, or the start of the next file.
    pub fn read_raw(&mut self, at: Position, buffer: &mut Vec<u8>, max: usize) -> Result<Position> {
        let (mut index, mut offset) = self.locate(at)?;
        while index < self.segments.len() {
            if let Some(content) = self.content(index) {
                let begin = buffer.len();
                buffer.resize(begin + max, 0);
                let got = content.fill_at(&mut buffer[begin..], offset);
                buffer.truncate(begin + got.as_ref().map_or(0, |got| *got));
                let got = got.with_context(|| self.cannot(index))?;
                if got > 0 || index + 1 == self.segments.len() {
                    return Ok(Position { file: self.segments[index].key(), offset: offset + got as u64 });
                }
            }
            (index, offset) = (index + 1, 0);
        }
        Ok(at)
    }

    /// Describes a line of a file; the caller states how it ends.
    pub(crate) fn line(
        &mut self,
        index: usize,
        offset: u64,
        text: &[u8],
        next: usize,
        previous: Option<f64>,
    ) -> Line {
        let file = self.segments[index].key();
        let time = self.time_of(index, offset, text).or(previous);
        Line {
            position: Position { file, offset },
            end: Position { file, offset: offset + next as u64 },
            time,
            bytes: text.to_vec(),
            truncated: false,
            ended: false,
        }
    }

    pub(crate) fn cannot(&self, index: usize) -> String {
        let name = &self.segments[index].named.name;
        format!("cannot read {}", self.directory.path().join(name).display())
    }
}

/// Gives lines without a time that of the line before; `lines` are newest first.
fn inherit_times(lines: &mut [Line]) {
    let mut time = None;
    for line in lines.iter_mut().rev() {
        time = line.time.or(time);
        line.time = time;
    }
}

/// Bytes of a file before an offset.
#[derive(Default)]
struct Window {
    begin: u64,
    bytes: Vec<u8>,
}

impl Window {
    /// Makes the bytes available that decide where the piece before `end` begins.
    fn load(&mut self, content: &Content, end: u64, chunk: usize) -> std::io::Result<()> {
        let has = end.checked_sub(self.begin).is_some_and(|has| has <= self.bytes.len() as u64 && has > 0);
        if has && (self.begin == 0 || end - self.begin > LOOKBACK) {
            return Ok(());
        }
        let length = (chunk.max(2 * LOOKBACK_LENGTH) as u64).min(end);
        self.begin = end - length;
        self.bytes.resize(usize::try_from(length).unwrap_or(chunk), 0);
        let got = content.fill_at(&mut self.bytes, self.begin)?;
        self.bytes.truncate(got);
        Ok(())
    }

    /// Returns offset and length, without its newline, of the piece before `end`; nothing if the file is shorter now.
    fn last_piece(&self, end: u64) -> Option<(u64, usize)> {
        let text = self.bytes.get(..usize::try_from(end - self.begin).ok()?)?;
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        let lookback = text.len().saturating_sub(LOOKBACK_LENGTH);
        let start = lookback + pieces::start(&text[lookback..], self.begin + lookback as u64);
        Some((self.begin + start as u64, text.len() - start))
    }

    fn bytes(&self, start: u64, length: usize) -> &[u8] {
        let begin = usize::try_from(start - self.begin).unwrap_or(0);
        &self.bytes[begin..begin + length]
    }
}
