//! What a search needs of a log: its files, which are opened when their turn comes.

use std::io;
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, Result};

use super::{Line, Log};
use crate::content::Content;
use crate::file_name::Compression;
use crate::log_directory::LogDirectory;
use crate::log_files::LogFile;
use crate::position::Position;

/// A file that is not open yet.
#[derive(Debug, Clone)]
pub(crate) struct Source {
    directory: Arc<LogDirectory>,
    base: Arc<str>,
    named: LogFile,
}

impl Source {
    /// Opens the file by the name that it has now; nothing if it is gone.
    pub(crate) fn open(&self) -> io::Result<Option<Content>> {
        let Self { directory, base, named } = self;
        let mut file = directory.open_file(&named.name, named.id)?;
        if file.is_none()
            && let Some(renamed) = directory.files_of(base)?.files().find(|file| file.id == named.id)
        {
            file = directory.open_file(&renamed.name, named.id)?;
        }
        file.map(|file| Content::new(file, named.packing)).transpose()
    }
}

impl Log {
    pub(crate) fn source(&self, index: usize) -> Source {
        let named = self.segments[index].named.clone();
        Source { directory: Arc::clone(&self.directory), base: Arc::clone(&self.base), named }
    }

    /// Returns the ranges of all files, oldest first, on one side of a position and between two times.
    pub(crate) fn ranges(
        &mut self,
        from: Position,
        before: bool,
        since: Option<f64>,
        until: Option<f64>,
    ) -> Result<Vec<(usize, Range<u64>)>> {
        let mut begin = (0, 0);
        let mut end = (self.segments.len(), 0);
        let from = self.locate(from)?;
        if before {
            end = from;
        } else {
            begin = from;
        }
        if let Some(since) = since {
            let at = self.position_at(since)?;
            begin = begin.max(self.locate(at)?);
        }
        if let Some(until) = until {
            let at = self.end_before(until)?;
            end = end.min(self.locate(at)?);
        }
        let lengths = self.segments.iter().map(|segment| segment.length).enumerate();
        let ranges = lengths.filter_map(|(index, length)| {
            let first = if index == begin.0 { begin.1 } else { 0 };
            let last = if index == end.0 { end.1 } else { length };
            (index >= begin.0 && index <= end.0 && first < last).then_some((index, first..last))
        });
        Ok(ranges.collect())
    }

    /// Returns the approximate time of a line of a file.
    pub(crate) fn block_time(&mut self, index: usize, offset: u64) -> f64 {
        if let Some(time) = self.index(index).time_of(offset) {
            return time;
        }
        // In proportion to the offset, between the last changes of this file and of the one before.
        let segment = &self.segments[index];
        let begin = index.checked_sub(1).map_or(segment.modified, |before| self.segments[before].modified);
        #[expect(clippy::cast_precision_loss, reason = "an approximation")]
        let share = offset as f64 / segment.length.max(1) as f64;
        begin + (segment.modified - begin) * share
    }

    /// True if an offset is the end of a compressed file, as the file states it.
    pub(crate) fn is_estimated_end(&self, index: usize, offset: u64) -> bool {
        let segment = &self.segments[index];
        segment.named.packing != Compression::Plain && segment.length == offset
    }

    /// Returns how much later than its recorded time a line may have been read, in seconds.
    pub(crate) fn time_tolerance(&mut self, index: usize) -> f64 {
        self.index(index).interval()
    }

    /// Reports that a file cannot be read.
    pub(crate) fn add_problem(&mut self, index: usize, error: &io::Error) {
        self.problems.insert(self.path_of(&self.segments[index].named.name), error.to_string());
    }

    /// Returns the position of a byte of a file.
    pub(crate) fn position_in(&self, index: usize, offset: u64) -> Position {
        Position { file: self.segments[index].key(), offset }
    }

    /// Describes a line that a search has found.
    pub(crate) fn line_at(
        &mut self,
        index: usize,
        offset: u64,
        text: &[u8],
        next: usize,
        truncated: bool,
    ) -> Line {
        let line = self.line(index, offset, text, next, None);
        Line { truncated, ended: next > text.len(), ..line }
    }

    /// Opens a file and reads its first bytes, which positions contain.
    pub(crate) fn identify(&mut self, index: usize) -> Result<()> {
        if self.segments[index].head == 0
            && let Some(content) = self.content(index)
        {
            self.segments[index].head = content.head().with_context(|| self.cannot(index))?;
        }
        Ok(())
    }
}
