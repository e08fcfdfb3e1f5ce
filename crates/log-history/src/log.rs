//! One log, read as a single sequence of bytes.

mod listing;
mod reading;
mod source;
mod times;

use std::collections::{BTreeMap, VecDeque};
use std::path::PathBuf;
use std::sync::Arc;

use anyhow::Result;

use crate::content::Content;
use crate::file_id::FileId;
use crate::log_directory::LogDirectory;
use crate::log_files::LogFile;
use crate::position::{FileKey, Position, PositionGone};
use crate::time_index::TimeIndex;
use listing::Listed;
pub(crate) use source::Source;

/// Files of a log that are kept open, and time indexes in memory.
const OPEN: usize = 4;

/// A log with its rotated files.
#[derive(Debug)]
pub struct Log {
    name: String,
    /// Name of the current file.
    base: Arc<str>,
    directory: Arc<LogDirectory>,
    times: PathBuf,
    /// Files, oldest first.
    segments: Vec<Segment>,
    listed: Option<Listed>,
    /// Open files, the one that was used last at the end.
    open: VecDeque<(FileId, Content)>,
    indexes: VecDeque<(FileId, TimeIndex)>,
    problems: BTreeMap<String, String>,
}

/// One file of a log.
#[derive(Debug, Clone, PartialEq)]
struct Segment {
    named: LogFile,
    /// Size of the content in bytes; an estimate if it is compressed.
    length: u64,
    /// Last change, in seconds since 1970.
    modified: f64,
    /// Checksum of the first bytes, if they were read and are enough.
    head: u32,
    is_current: bool,
}

/// A line, or a piece of one that is longer than 64 KiB.
#[derive(Debug, Clone, PartialEq)]
pub struct Line {
    /// Position of its first byte.
    pub position: Position,
    /// Position after its last byte and its newline.
    pub end: Position,
    /// Time at which it was read, or else the one that it begins with, in seconds since 1970.
    pub time: Option<f64>,
    /// Without the newline.
    pub bytes: Vec<u8>,
    /// True if the line continues in the next piece.
    pub truncated: bool,
    /// True if it ends with a newline. If it is neither ended nor truncated, its file ends here, and more may come.
    pub ended: bool,
}

/// The most important thing that has happened to a log since the last [`Log::refresh`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Change {
    /// Nothing.
    None,
    /// There are new bytes.
    Grown,
    /// There is another current file, or another rotated one.
    Rotated,
    /// The current file was truncated or rewritten.
    Truncated,
    /// There is no file any more.
    Gone,
}

impl Log {
    /// Names a log without opening a file; [`Log::refresh`] finds its files.
    pub(crate) fn new(name: String, base: String, directory: LogDirectory, times: PathBuf) -> Self {
        Self {
            name,
            base: base.into(),
            directory: Arc::new(directory),
            times,
            segments: Vec::new(),
            listed: None,
            open: VecDeque::new(),
            indexes: VecDeque::new(),
            problems: BTreeMap::new(),
        }
    }

    /// Name of the log.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if there was no file at the last refresh.
    #[must_use]
    pub fn is_gone(&self) -> bool {
        self.segments.is_empty() && self.problems.is_empty()
    }

    /// Returns the paths of files that cannot be read, or not completely, with the reason.
    #[must_use]
    pub fn problems(&self) -> BTreeMap<String, String> {
        let found = self.open.iter().filter_map(|(id, content)| {
            let named = self.segments.iter().find(|segment| segment.named.id == *id)?;
            Some((self.path_of(&named.named.name), content.problem()?))
        });
        self.problems.clone().into_iter().chain(found).collect()
    }

    /// Returns the first byte of the oldest file.
    #[must_use]
    pub fn start(&self) -> Position {
        self.segments.first().map_or(Position::BEGINNING, |first| Position { file: first.key(), offset: 0 })
    }

    /// Returns the end of the newest file at the last refresh.
    #[must_use]
    pub fn end(&self) -> Position {
        self.segments
            .last()
            .map_or(Position::BEGINNING, |last| Position { file: last.key(), offset: last.length })
    }

    /// Returns the file of a position.
    #[must_use]
    pub fn file_of(&self, position: Position) -> Option<FileId> {
        self.segments.iter().map(|segment| segment.named.id).find(|id| position.file.is_file(*id))
    }

    /// Returns the distance of two positions in bytes; that of a position that is gone is counted from the start.
    #[must_use]
    pub fn bytes_between(&self, from: Position, to: Position) -> u64 {
        let absolute = |position: Position| {
            let Some(index) =
                self.segments.iter().position(|segment| position.file.is_file(segment.named.id))
            else {
                return 0;
            };
            self.segments[..index].iter().map(|segment| segment.length).sum::<u64>() + position.offset
        };
        absolute(to).saturating_sub(absolute(from))
    }

    fn path_of(&self, name: &str) -> String {
        self.directory.path().join(name).display().to_string()
    }

    /// Returns the file and the offset of a position; an error is [`PositionGone`] if its bytes are.
    fn locate(&mut self, at: Position) -> Result<(usize, u64)> {
        if at == Position::BEGINNING {
            return Ok((0, 0));
        }
        let same = self.segments.iter().position(|segment| at.file.is_file(segment.named.id));
        if let Some(index) = same {
            // A file that cannot be read has a place all the same.
            let length = self.segments[index].length;
            let Some(content) = self.content(index) else { return Ok((index, at.offset.min(length))) };
            let head = content.head()?;
            self.segments[index].head = head;
            let is_same = at.file.head().is_none_or(|expected| expected == head);
            if is_same
                && (at.offset == 0
                    || at.offset <= self.segments[index].length
                    || at.offset <= content.len()?)
            {
                return Ok((index, at.offset));
            }
        }
        // Copied, or compressed.
        if let Some(head) = at.file.head() {
            for index in (0..self.segments.len()).rev().filter(|index| Some(*index) != same) {
                let Some(content) = self.content(index) else { continue };
                if content.head()? == head && at.offset <= content.len()? {
                    self.segments[index].head = head;
                    return Ok((index, at.offset));
                }
            }
        }
        Err(PositionGone { log: self.name.clone(), position: at }.into())
    }
}

impl Segment {
    fn key(&self) -> FileKey {
        FileKey::new(self.named.id, self.head)
    }
}
