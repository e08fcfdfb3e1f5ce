//! A rotated or deleted file that its writer still has open.

use std::io;
use std::time::{Duration, Instant};

use crate::file_reader::{FileReader, Read};
use crate::line_assembler::{LineAssembler, Piece};

/// Time without a new line after which a deleted file is closed, so that its space becomes free.
pub const DELETED_GRACE: Duration = Duration::from_secs(10);

/// A file that was read, with an incomplete line of its writer.
#[derive(Debug)]
pub struct RotatedFile {
    reader: FileReader,
    lines: LineAssembler,
    /// Time of the last bytes, or of the rotation.
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

    /// Reads once; returns true if there were new bytes, nothing if the file was rewritten.
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

    /// True if no more writes are expected.
    pub fn is_expired(&self, now: Instant) -> bool {
        self.reader.is_deleted()
            && now.duration_since(self.touched) >= DELETED_GRACE
            && self.reader.unread_bytes() == 0
            && self.lines.pending() == 0
    }
}
