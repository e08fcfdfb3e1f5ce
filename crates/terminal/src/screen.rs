//! Renders output as a terminal of unlimited width does: rows with colours, in which progress bars overwrite themselves.
//!
//! Cursor movement, erasing, tabs, colours and wide characters mean what they mean to tmux. Everything else that a terminal
//! would obey is ignored. What cannot be shown is written as logtail writes it: `␀`, `\xff`, `\u{202e}`. No sequence extends
//! over the end of a line, so that an unfinished one hides nothing.

mod display;
mod row;
mod style;

use serde::Serialize;
pub use style::{Color, Style};
use unicode_width::UnicodeWidthChar;

use self::display::Display;
use crate::ESCAPE;

/// A longer row continues in the next one.
pub const MAX_COLUMNS: usize = 16 * 1024;
/// A longer control sequence is shown as text.
const MAX_SEQUENCE: usize = 4096;
/// Text of finished rows at which [`Screen::feed`] returns.
const MAX_FINISHED: usize = 1 << 20;
/// Bytes that are rendered between two looks at the finished rows.
const MAX_PIECE: usize = 64 * 1024;
/// Aborts a control sequence.
const CANCEL: u8 = 0x18;
const SUBSTITUTE: u8 = 0x1a;
const BELL: u8 = 0x07;

/// A row of text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Row {
    /// Position of the byte that began the row. It is stable, and later rows have larger ones.
    pub id: u64,
    /// Its text, without the blanks of the default style that a program erased to.
    pub spans: Vec<Span>,
}

impl Row {
    /// Returns the text without its styles.
    #[must_use]
    pub fn text(&self) -> String {
        self.spans.iter().map(|span| span.text.as_str()).collect()
    }
}

/// Text of one style.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Span {
    #[allow(missing_docs)]
    pub text: String,
    #[allow(missing_docs)]
    #[serde(flatten)]
    pub style: Style,
}

/// A terminal whose last rows can still change.
pub struct Screen {
    parser: vte::Parser,
    display: Display,
    input: Input,
    /// Bytes of the unfinished control sequence.
    sequence: Vec<u8>,
    /// Beginning of a character whose other bytes have not arrived.
    partial: ([u8; 4], usize),
}

/// Kind of control sequence that the next byte belongs to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Input {
    Text,
    Escape,
    Control,
    Command,
    String,
}

impl Screen {
    /// Creates a screen on which a program can move up by `rows - 1` rows.
    #[must_use]
    pub fn new(rows: usize) -> Screen {
        Screen {
            parser: vte::Parser::new(),
            display: Display::new(rows.max(1)),
            input: Input::Text,
            sequence: Vec::new(),
            partial: ([0; 4], 0),
        }
    }

    /// Renders output, which may be cut anywhere, and returns how many bytes of it. These are all, unless a mebibyte of rows
    /// waits for [`Screen::take_changes`]: a few bytes can create a long row.
    ///
    /// `offset` is the position of the first byte; a row's id derives from it.
    #[must_use = "the rest of the bytes must be fed after `take_changes`"]
    pub fn feed(&mut self, bytes: &[u8], offset: u64) -> usize {
        let mut at = 0;
        while at < bytes.len() && self.display.finished_bytes() < MAX_FINISHED {
            self.display.begin_line(offset + at as u64 - self.partial.1 as u64);
            let rest = &bytes[at..bytes.len().min(at + MAX_PIECE)];
            at += match self.input {
                Input::Text if self.partial.1 > 0 => self.complete_character(rest, offset + at as u64),
                Input::Text => self.text(rest, offset + at as u64),
                _ => self.sequence_byte(rest[0], offset + at as u64),
            };
        }
        at
    }

    /// Returns the rows that changed since the last call, oldest first. All but the last `rows` are in their final state.
    pub fn take_changes(&mut self) -> Vec<Row> {
        self.display.take_changes()
    }

    /// Returns the rows that can still change, oldest first.
    #[must_use]
    pub fn rows(&self) -> Vec<Row> {
        self.display.rows()
    }

    /// Renders text up to and including the next byte that is more than a character.
    fn text(&mut self, bytes: &[u8], offset: u64) -> usize {
        let end = bytes.iter().position(|byte| !(0x20..0x7f).contains(byte)).unwrap_or(bytes.len());
        if end > 0 {
            if let Ok(text) = std::str::from_utf8(&bytes[..end]) {
                self.display.print_ascii(text, offset);
            }
            return end;
        }
        match bytes[0] {
            ESCAPE => {
                self.input = Input::Escape;
                self.sequence.push(ESCAPE);
                self.parser.advance(&mut self.display, &[ESCAPE]);
                1
            }
            byte @ (0..0x20 | 0x7f) => {
                self.display.control(byte, offset);
                1
            }
            _ => {
                let end = bytes.iter().position(u8::is_ascii).unwrap_or(bytes.len());
                self.characters(&bytes[..end], end == bytes.len(), offset)
            }
        }
    }

    /// Renders bytes beyond ASCII. The last may be the beginning of a character if `more` bytes may follow.
    fn characters(&mut self, bytes: &[u8], more: bool, offset: u64) -> usize {
        let mut at = 0;
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                self.display.print(character, offset + at as u64);
                at += character.len_utf8();
            }
            let invalid = chunk.invalid();
            if more && at + invalid.len() == bytes.len() && is_beginning(invalid) {
                self.partial.0[..invalid.len()].copy_from_slice(invalid);
                self.partial.1 = invalid.len();
            } else {
                self.display.print_bytes(invalid, offset + at as u64);
            }
            at += invalid.len();
        }
        at
    }

    /// Renders the character that was cut, and returns how many of the bytes belong to it.
    fn complete_character(&mut self, bytes: &[u8], offset: u64) -> usize {
        let (mut buffer, before) = self.partial;
        let taken = bytes.iter().take(4 - before).take_while(|byte| !byte.is_ascii()).count();
        buffer[before..before + taken].copy_from_slice(&bytes[..taken]);
        self.partial.1 = 0;
        // Up to four bytes: one character and the beginning of the next, or bytes that are none.
        let (first, more) = match std::str::from_utf8(&buffer[..before + taken]) {
            Ok(text) => (text.chars().next().map_or(0, char::len_utf8), false),
            Err(error) if error.valid_up_to() > 0 => (error.valid_up_to(), false),
            Err(error) => match error.error_len() {
                Some(length) => (length, false),
                None => (before + taken, taken == bytes.len()),
            },
        };
        self.characters(&buffer[..first], more, offset - before as u64);
        first - before
    }

    fn sequence_byte(&mut self, byte: u8, offset: u64) -> usize {
        let in_string = matches!(self.input, Input::Command | Input::String);
        let aborts = match byte {
            b'\n' => true,
            ESCAPE => !in_string && self.sequence.len() > 1,
            _ => (!in_string && byte >= 0x7f) || self.sequence.len() >= MAX_SEQUENCE,
        };
        if aborts {
            self.parser.advance(&mut self.display, &[CANCEL]);
            self.input = Input::Text;
            let sequence = std::mem::take(&mut self.sequence);
            self.display.print_sequence(&sequence, offset);
            return 0;
        }
        self.sequence.push(byte);
        // The content of strings is of no interest, and may be of any encoding.
        if byte.is_ascii() {
            self.display.set_position(offset);
            self.parser.advance(&mut self.display, &[byte]);
        }
        self.input = match (self.input, byte) {
            (_, CANCEL | SUBSTITUTE) | (Input::Command, BELL) | (Input::Control, 0x40..0x7f) => Input::Text,
            (_, ESCAPE) => Input::Escape,
            (Input::Escape, b'[') => Input::Control,
            (Input::Escape, b']') => Input::Command,
            (Input::Escape, b'P' | b'X' | b'^' | b'_') => Input::String,
            (Input::Escape, 0x30..0x7f) => Input::Text,
            (input, _) => input,
        };
        if self.input == Input::Text {
            self.sequence.clear();
        }
        1
    }
}

/// True for the first bytes of a character that has more.
fn is_beginning(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.error_len().is_none())
}

/// Returns the number of columns: 0 for a combining character, 1 or 2.
fn width(character: char) -> usize {
    character.width().unwrap_or(1).min(2)
}

#[cfg(test)]
mod tests;
