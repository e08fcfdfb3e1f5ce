//! Parts of log files that are searched independently.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::io;
use std::ops::Range;
use std::sync::Arc;

use anyhow::Result;
use memchr::{memchr, memmem};
use terminal::ESCAPE;

use super::{Order, Query};
use crate::content::Content;
use crate::level::{Level, LevelSet};
use crate::log::{Log, Source};
use crate::pieces::{self, End, LOOKBACK, LOOKBACK_LENGTH};
use crate::position::Position;

/// Size of a block in bytes.
const BLOCK: u64 = 512 * 1024;

/// A range of a file; lines that begin in it are searched.
#[derive(Debug)]
pub struct Block {
    pub log: usize,
    pub segment: usize,
    pub source: Arc<Source>,
    pub range: Range<u64>,
    /// True at the end of a file whose size is an estimate.
    is_open: bool,
}

/// Result of a block.
#[derive(Debug, Default)]
pub struct Found {
    /// Bytes that have the lines.
    pub bytes: Vec<u8>,
    /// Offset of the first byte.
    pub offset: u64,
    pub lines: Vec<Piece>,
    pub error: Option<io::Error>,
}

impl Found {
    /// Returns a copy of one line.
    fn line(&self, piece: &Piece) -> Self {
        let &Piece { begin, end, next, truncated } = piece;
        let lines = vec![Piece { begin: 0, end: end - begin, next: next - begin, truncated }];
        let bytes = self.bytes[begin..end].to_vec();
        Self { bytes, offset: self.offset + begin as u64, lines, error: None }
    }
}

/// A line, as indexes of the bytes.
#[derive(Debug, Clone, Copy)]
pub struct Piece {
    pub begin: usize,
    pub end: usize,
    /// Index after its newline.
    pub next: usize,
    pub truncated: bool,
}

impl Block {
    pub fn length(&self) -> u64 {
        self.range.end - self.range.start
    }
}

/// The blocks of all logs. They are divided when their turn comes: a sparse log can have millions.
#[derive(Debug)]
pub struct Plan {
    order: Order,
    logs: Vec<VecDeque<Part>>,
}

/// The rest of a file.
#[derive(Debug)]
struct Part {
    segment: usize,
    source: Arc<Source>,
    range: Range<u64>,
    /// Order of the next block among those of all logs.
    time: f64,
}

impl Plan {
    pub fn new(order: Order) -> Self {
        Self { order, logs: Vec::new() }
    }

    /// Adds the part of the next log that a query is about.
    pub fn add(&mut self, log: &mut Log, query: &Query, from: Position) -> Result<()> {
        let newest_first = self.order == Order::NewestFirst;
        let ranges = log.ranges(from, newest_first, query.since, query.until)?;
        let mut parts: VecDeque<Part> = ranges
            .into_iter()
            .map(|(segment, range)| Part { segment, source: Arc::new(log.source(segment)), range, time: 0.0 })
            .collect();
        if newest_first {
            parts.make_contiguous().reverse();
        }
        if let Some(part) = parts.front_mut() {
            part.time = log.block_time(part.segment, self.order.first(&part.range).start);
        }
        self.logs.push(parts);
        Ok(())
    }

    /// Returns the number of bytes.
    pub fn length(&self) -> u64 {
        self.logs.iter().flatten().map(|part| part.range.end - part.range.start).sum()
    }

    /// Returns the next block by time; the blocks of one log keep their order.
    pub fn next(&mut self, logs: &mut [Log]) -> Option<Block> {
        let fronts = self.logs.iter().enumerate().filter_map(|(log, parts)| Some((log, parts.front()?.time)));
        let (number, _) = match self.order {
            Order::NewestFirst => fronts.min_by(|(_, one), (_, other)| other.total_cmp(one)),
            Order::OldestFirst => fronts.min_by(|(_, one), (_, other)| one.total_cmp(other)),
        }?;
        let (parts, log) = (&mut self.logs[number], &mut logs[number]);
        let part = parts.front_mut()?;
        let range = self.order.first(&part.range);
        match self.order {
            Order::NewestFirst => part.range.end = range.start,
            Order::OldestFirst => part.range.start = range.end,
        }
        let block = Block {
            log: number,
            segment: part.segment,
            source: Arc::clone(&part.source),
            is_open: log.is_estimated_end(part.segment, range.end),
            range,
        };
        if part.range.is_empty() {
            parts.pop_front();
        }
        if let Some(next) = parts.front_mut() {
            next.time = log.block_time(next.segment, self.order.first(&next.range).start);
        }
        Some(block)
    }
}

impl Order {
    /// Returns the first block of a range.
    fn first(self, range: &Range<u64>) -> Range<u64> {
        match self {
            Self::NewestFirst => range.start.max((range.end - 1) / BLOCK * BLOCK)..range.end,
            Self::OldestFirst => range.start..range.end.min(range.start / BLOCK * BLOCK + BLOCK),
        }
    }
}

/// Finds the lines of a block: at most `limit`, those that are reported first.
pub fn search(block: &Block, content: &Content, query: &Query, limit: usize, bytes: Vec<u8>) -> Vec<Found> {
    if !block.is_open {
        return vec![search_range(&block.range, content, query, limit, bytes)];
    }
    // The file has several members: the rest is searched as well.
    let end = content.len().map_or(block.range.end, |end| end.max(block.range.end));
    let (mut ranges, mut at) = (VecDeque::new(), block.range.start);
    while at < end {
        ranges.push_back(at..(at + BLOCK).min(end));
        at += BLOCK;
    }
    let (mut found, mut count) = (Vec::new(), 0);
    let mut buffer = bytes;
    let mut next = || if query.order == Order::NewestFirst { ranges.pop_back() } else { ranges.pop_front() };
    while let Some(range) = next() {
        let mut part = search_range(&range, content, query, limit, buffer);
        count += part.lines.len();
        if query.order == Order::NewestFirst {
            part.lines.reverse();
        }
        found.extend(part.lines.iter().map(|piece| part.line(piece)));
        if part.error.is_some() {
            found.push(Found { error: part.error, ..Found::default() });
        }
        buffer = part.bytes;
        if count >= limit {
            break;
        }
    }
    found
}

fn search_range(
    range: &Range<u64>,
    content: &Content,
    query: &Query,
    limit: usize,
    mut bytes: Vec<u8>,
) -> Found {
    let offset = range.start.saturating_sub(LOOKBACK);
    let wanted = range.end - offset + LOOKBACK;
    bytes.resize(usize::try_from(wanted).unwrap_or(0), 0);
    let got = content.fill_at(&mut bytes, offset);
    bytes.truncate(got.as_ref().map_or(0, |got| *got));
    let error = got.err().or_else(|| content.problem().map(io::Error::other));
    let mut lines = VecDeque::new();
    let index = |at: u64| usize::try_from(at - offset).unwrap_or(usize::MAX).min(bytes.len());
    let (begin, end) = (index(range.start), index(range.end));
    let mut at = first_piece(&bytes, offset, begin);
    // A match may extend over what is not part of the text.
    let is_plain = memchr(ESCAPE, &bytes).is_none() && memmem::find(&bytes, b"\r\n").is_none();
    let in_blocks = query.pattern.as_ref().filter(|pattern| is_plain && pattern.in_blocks());
    while at < end {
        if let Some(pattern) = in_blocks {
            // A line that matches alone also matches here, at its first match or later: each candidate decides about its own line.
            let Some(found) = pattern.find_at(&bytes, at) else { break };
            let until = if bytes.get(found) == Some(&b'\n') { found } else { (found + 1).min(bytes.len()) };
            let lookback = until.saturating_sub(LOOKBACK_LENGTH);
            let start = lookback + pieces::start(&bytes[lookback..until], offset + lookback as u64);
            at = start.max(at);
        }
        if at >= end {
            break;
        }
        let (length, next, truncated) = match pieces::end(&bytes[at..], offset + at as u64) {
            End::Newline(end) => (end, end + 1, false),
            End::Cut(end) => (end, end, true),
            End::Open => (bytes.len() - at, bytes.len() - at, false),
        };
        let line = without_sequences(&bytes[at..at + length]);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        let is_match = query.pattern.as_ref().is_none_or(|pattern| pattern.is_match(line))
            && (query.levels == LevelSet::ALL || query.levels.contains(Level::detect(line)));
        if is_match {
            if lines.len() == limit {
                if query.order == Order::OldestFirst {
                    break;
                }
                lines.pop_front();
            }
            lines.push_back(Piece { begin: at, end: at + length, next: at + next, truncated });
        }
        at += next;
    }
    Found { bytes, offset, lines: lines.into(), error }
}

/// Returns a line without the control sequences of terminals.
fn without_sequences(line: &[u8]) -> Cow<'_, [u8]> {
    let Some(mut escape) = memchr(ESCAPE, line) else { return Cow::Borrowed(line) };
    let (mut text, mut rest) = (Vec::with_capacity(line.len()), line);
    loop {
        text.extend_from_slice(&rest[..escape]);
        rest = terminal::after_sequence(&rest[escape..]);
        match memchr(ESCAPE, rest) {
            Some(next) => escape = next,
            None => break,
        }
    }
    text.extend_from_slice(rest);
    Cow::Owned(text)
}

/// Returns the index of the first piece that begins at an index or after it.
fn first_piece(bytes: &[u8], offset: u64, begin: usize) -> usize {
    if begin == 0 || bytes.get(begin - 1) == Some(&b'\n') {
        return begin;
    }
    let lookback = begin.saturating_sub(LOOKBACK_LENGTH);
    let mut at = lookback + pieces::start(&bytes[lookback..begin], offset + lookback as u64);
    while at < begin {
        at += match pieces::end(&bytes[at..], offset + at as u64) {
            End::Newline(end) => end + 1,
            End::Cut(end) => end,
            End::Open => bytes.len() - at,
        };
    }
    at
}
