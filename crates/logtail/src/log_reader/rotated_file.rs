//! A writer who has not noticed that its log was rotated or deleted.

use std::io;
use std::time::{Duration, Instant};

use crate::file_reader::{FileReader, Read};
use crate::line_assembler::{LineAssembler, Piece};

/// A deleted file is let go after this time without a new line, so that its space becomes free.
pub const DELETED_GRACE: Duration = Duration::from_secs(10);

/// The file before the one that is read, with what its writer has begun.
#[derive(Debug)]
pub struct RotatedFile {
    reader: FileReader,
    lines: LineAssembler,
    /// When something came from it last, or when it became the one before.
    touched: Instant,
}

impl RotatedFile {
    pub fn new(reader: FileReader, now: Instant) -> Self {
        Self { reader, lines: LineAssembler::default(), touched: now }
    }

    pub fn reader(&self) -> &FileReader {
        &self.reader
    }

    pub fn lines(&self) -> &LineAssembler {
        &self.lines
    }

    pub fn lines_mut(&mut self) -> &mut LineAssembler {
        &mut self.lines
    }

    /// Reads once; says whether there was something, or nothing if the file holds something else by now.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        emit: &mut dyn FnMut(Piece<'_>),
    ) -> io::Result<Option<bool>> {
        Ok(match self.reader.read(buffer)? {
            Read::New(bytes) => {
                self.touched = now;
                self.lines.feed(bytes, now, emit);
                Some(true)
            }
            Read::End => Some(false),
            Read::Truncated => None,
        })
    }

    /// Whether nobody is expected to write to it any more.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.reader.is_deleted()
            && now.duration_since(self.touched) >= DELETED_GRACE
            && self.reader.unread_bytes() == 0
            && self.lines.pending() == 0
    }
}
