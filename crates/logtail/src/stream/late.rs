//! A writer who has not noticed that its log was rotated or deleted.

use std::io;
use std::time::{Duration, Instant};

use crate::generation::{Generation, Read};
use crate::lines::{Lines, Piece};

/// A deleted file is let go after this time without a new line, so that its space becomes free.
pub const DELETED: Duration = Duration::from_secs(10);

/// The file before the one that is read, with what its writer has begun.
#[derive(Debug)]
pub struct Late {
    generation: Generation,
    lines: Lines,
    /// When something came from it last, or when it became the one before.
    touched: Instant,
}

impl Late {
    pub fn new(generation: Generation, now: Instant) -> Self {
        Self { generation, lines: Lines::default(), touched: now }
    }

    pub fn generation(&self) -> &Generation {
        &self.generation
    }

    pub fn lines(&self) -> &Lines {
        &self.lines
    }

    pub fn lines_mut(&mut self) -> &mut Lines {
        &mut self.lines
    }

    /// Reads once; says whether there was something, or nothing if the file holds something else by now.
    pub fn read(
        &mut self,
        buffer: &mut [u8],
        now: Instant,
        emit: &mut dyn FnMut(Piece<'_>),
    ) -> io::Result<Option<bool>> {
        Ok(match self.generation.read(buffer)? {
            Read::New(bytes) => {
                self.touched = now;
                self.lines.feed(bytes, now, emit);
                Some(true)
            }
            Read::End => Some(false),
            Read::Rewritten => None,
        })
    }

    /// Whether nobody is expected to write to it any more.
    pub fn is_over(&self, now: Instant) -> bool {
        self.generation.is_deleted()
            && now.duration_since(self.touched) >= DELETED
            && self.generation.unread() == 0
            && self.lines.pending() == 0
    }
}
