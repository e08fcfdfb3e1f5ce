//! Positions in logs, as links and cursors carry them.

use std::error::Error;
use std::fmt;
use std::str::FromStr;

use flate2::Crc;
use serde::{Deserialize, Serialize};

use crate::file_id::FileId;

/// Number of first bytes of a file that identify its content.
pub(crate) const HEAD: usize = 64;

/// Identity of a log file: which file it is, and with which bytes it starts.
///
/// The first bytes detect that a file was rewritten, and find its copy or its compressed form.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FileKey {
    identity: u64,
    /// CRC-32 of the first bytes; 0 if they are not known, or too few.
    head: u32,
}

impl FileKey {
    pub(crate) fn new(id: FileId, head: u32) -> Self {
        Self { identity: id.digest(), head }
    }

    /// True if it is the same file, whatever its content.
    pub(crate) fn is_file(self, id: FileId) -> bool {
        self.identity == id.digest()
    }

    /// CRC-32 of the first bytes, if they are known.
    pub(crate) fn head(self) -> Option<u32> {
        (self.head != 0).then_some(self.head)
    }
}

/// Returns the checksum of the first bytes of a file; 0 if there are too few, because more are coming.
pub(crate) fn head_sum(head: &[u8]) -> u32 {
    let Some(head) = head.get(..HEAD) else { return 0 };
    let mut sum = Crc::new();
    sum.update(head);
    sum.sum()
}

/// A byte of a log. Its text form, `FILE.OFFSET`, is safe in URLs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Position {
    /// File of the log.
    pub file: FileKey,
    /// Offset in that file, decompressed, in bytes.
    pub offset: u64,
}

impl Position {
    /// The first byte of any log, whatever its oldest file is.
    pub const BEGINNING: Self = Self { file: FileKey { identity: 0, head: 0 }, offset: 0 };
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}-{:x}.{}", self.file.identity, self.file.head, self.offset)
    }
}

impl FromStr for Position {
    type Err = InvalidPosition;

    fn from_str(text: &str) -> Result<Self, InvalidPosition> {
        let parse = || {
            let (file, offset) = text.split_once('.')?;
            let (identity, head) = file.split_once('-')?;
            let file = FileKey {
                identity: u64::from_str_radix(identity, 16).ok()?,
                head: u32::from_str_radix(head, 16).ok()?,
            };
            Some(Self { file, offset: offset.parse().ok()? })
        };
        parse().ok_or(InvalidPosition)
    }
}

impl From<Position> for String {
    fn from(position: Position) -> Self {
        position.to_string()
    }
}

impl TryFrom<String> for Position {
    type Error = InvalidPosition;

    fn try_from(text: String) -> Result<Self, InvalidPosition> {
        text.parse()
    }
}

/// A text that is not a position.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct InvalidPosition;

impl fmt::Display for InvalidPosition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a position in a log; it has the form FILE.OFFSET")
    }
}

impl Error for InvalidPosition {}

/// The bytes of a position do not exist any more. A caller continues at [`Log::start`](crate::Log::start), and reports that
/// lines are missing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PositionGone {
    /// Name of the log.
    pub log: String,
    /// The position.
    pub position: Position,
}

impl fmt::Display for PositionGone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { log, position } = self;
        write!(f, "position {position} of the log {log} no longer exists: its file was removed or truncated")
    }
}

impl Error for PositionGone {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_position_is_read_back_and_other_texts_are_not_positions() {
        let position = Position { file: FileKey { identity: u64::MAX, head: 7 }, offset: 10_000_000_000 };
        assert_eq!(position.to_string(), "ffffffffffffffff-7.10000000000");
        for position in [position, Position::BEGINNING] {
            assert_eq!(position.to_string().parse(), Ok(position));
        }
        for text in
            ["", "1.2", "1-2", "-.", "1-2.3.4", "../1-2.3", "1-2.-3", "1-2.18446744073709551616", "g-2.3"]
        {
            assert_eq!(text.parse::<Position>(), Err(InvalidPosition), "{text}");
        }
    }
}
