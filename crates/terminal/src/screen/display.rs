//! The cursor and the rows that it can reach.

use std::collections::VecDeque;

use vte::{Params, Perform};

use super::row::RowBuffer;
use super::style::Style;
use super::{CANCEL, MAX_COLUMNS, Row, SUBSTITUTE, width};
use crate::{ESCAPE, misleads};

/// Memory of the rows at which the oldest become final before their time.
const MAX_WEIGHT: usize = 4 << 20;
const TAB: usize = 8;

pub(super) struct Display {
    height: usize,
    /// The screen from its first row on; the rest of its rows are blank, and were never reached.
    rows: VecDeque<RowBuffer>,
    /// Rows that have left the screen changed.
    finished: Vec<Row>,
    finished_bytes: usize,
    cursor: Cursor,
    saved: Cursor,
    /// Position of the byte that is being rendered.
    position: u64,
    /// Position of the first byte of a line that has no row yet.
    line: Line,
    next_id: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Cursor {
    row: usize,
    column: usize,
    style: Style,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Line {
    /// The next byte begins it.
    Next,
    At(u64),
    HasRow,
}

impl Display {
    pub fn new(height: usize) -> Display {
        Display {
            height,
            rows: VecDeque::new(),
            finished: Vec::new(),
            finished_bytes: 0,
            cursor: Cursor::default(),
            saved: Cursor::default(),
            position: 0,
            line: Line::Next,
            next_id: 0,
        }
    }

    pub fn finished_bytes(&self) -> usize {
        self.finished_bytes
    }

    pub fn set_position(&mut self, position: u64) {
        self.position = position;
    }

    /// Takes the position as the beginning of a line, if the last byte ended one.
    pub fn begin_line(&mut self, position: u64) {
        if self.line == Line::Next {
            self.line = Line::At(position);
        }
    }

    pub fn take_changes(&mut self) -> Vec<Row> {
        let mut changes = std::mem::take(&mut self.finished);
        self.finished_bytes = 0;
        for row in &mut self.rows {
            if std::mem::take(&mut row.changed) {
                changes.push(row.row());
            }
        }
        changes
    }

    pub fn rows(&self) -> Vec<Row> {
        self.rows.iter().map(RowBuffer::row).collect()
    }

    /// Prints printable ASCII, of which `position` is the first byte.
    pub fn print_ascii(&mut self, text: &str, position: u64) {
        let mut done = 0;
        while done < text.len() {
            self.position = position + done as u64;
            self.wrap(1);
            let end = text.len().min(done + MAX_COLUMNS - self.cursor.column);
            let Cursor { column, style, .. } = self.cursor;
            self.row().put_ascii(column, &text[done..end], style);
            self.cursor.column += end - done;
            done = end;
        }
    }

    /// Prints any character.
    pub fn print(&mut self, character: char, position: u64) {
        if misleads(character) {
            return self.print_ascii(&format!("\\u{{{:x}}}", character as u32), position);
        }
        self.position = position;
        match width(character) {
            0 if self.cursor.column == 0 || self.cursor.row >= self.rows.len() => {}
            0 => {
                let column = self.cursor.column;
                self.row().combine(column, character);
            }
            width => {
                self.wrap(width);
                let Cursor { column, style, .. } = self.cursor;
                self.row().put(column, character, width, style);
                self.cursor.column += width;
            }
        }
    }

    /// Prints bytes that are not text.
    pub fn print_bytes(&mut self, bytes: &[u8], position: u64) {
        for (byte, position) in bytes.iter().zip(position..) {
            self.print_ascii(&format!("\\x{byte:02x}"), position);
        }
    }

    /// Prints what was not a control sequence in the end.
    pub fn print_sequence(&mut self, bytes: &[u8], position: u64) {
        for chunk in bytes.utf8_chunks() {
            for character in chunk.valid().chars() {
                match character {
                    ' '..='~' | '\u{80}'.. => self.print(character, position),
                    // The parser has obeyed the others on its way.
                    '\x1b' => self.picture(ESCAPE),
                    _ => {}
                }
            }
            for &byte in chunk.invalid() {
                self.print_bytes(&[byte], position);
            }
        }
    }

    /// Obeys a control character, or prints its picture.
    pub fn control(&mut self, byte: u8, position: u64) {
        self.position = position;
        match byte {
            b'\n' => {
                self.line_feed();
                self.cursor.column = 0;
            }
            b'\r' => self.cursor.column = 0,
            8 => self.cursor.column = self.cursor.column.saturating_sub(1),
            b'\t' => self.move_to_column((self.cursor.column / TAB + 1) * TAB),
            _ => self.picture(byte),
        }
    }

    fn picture(&mut self, byte: u8) {
        let picture = if byte == 0x7f { Some('␡') } else { char::from_u32(0x2400 + u32::from(byte)) };
        if let Some(picture) = picture {
            self.print(picture, self.position);
        }
    }

    fn wrap(&mut self, width: usize) {
        if self.cursor.column + width > MAX_COLUMNS {
            self.line_feed();
            self.cursor.column = 0;
            self.begin_line(self.position);
        }
    }

    fn line_feed(&mut self) {
        self.row();
        self.shed();
        if self.cursor.row + 1 < self.height {
            self.cursor.row += 1;
        } else {
            self.scroll(1);
        }
        if self.cursor.row >= self.rows.len() {
            self.line = Line::Next;
        }
    }

    /// Returns the row of the cursor. It and the rows before it are created if nothing was written there.
    fn row(&mut self) -> &mut RowBuffer {
        while self.rows.len() <= self.cursor.row {
            let begin = match std::mem::replace(&mut self.line, Line::HasRow) {
                Line::At(position) => position,
                _ if self.rows.len() == self.cursor.row => self.position,
                _ => 0,
            };
            let id = begin.max(self.next_id);
            self.next_id = id + 1;
            self.rows.push_back(RowBuffer::new(id));
        }
        &mut self.rows[self.cursor.row]
    }

    fn scroll(&mut self, rows: usize) {
        for row in self.rows.drain(..rows.min(self.rows.len())) {
            if row.changed {
                let row = row.into_row();
                self.finished_bytes += 64 + row.spans.iter().map(|span| span.text.len()).sum::<usize>();
                self.finished.push(row);
            }
        }
    }

    /// Lets the oldest rows go while all of them take too much memory. It is called before the cursor leaves a row.
    fn shed(&mut self) {
        let heavy = |row: &RowBuffer| row.weight() > MAX_WEIGHT / self.height;
        if self.rows.get(self.cursor.row).is_some_and(heavy) {
            while self.rows.len() > 1 && self.weight() > MAX_WEIGHT {
                self.scroll(1);
                self.cursor.row = self.cursor.row.saturating_sub(1);
                self.saved.row = self.saved.row.saturating_sub(1);
            }
        }
    }

    /// Returns about how many bytes of memory the rows take.
    pub fn weight(&self) -> usize {
        self.rows.iter().map(RowBuffer::weight).sum()
    }

    fn move_to_row(&mut self, row: usize) {
        self.shed();
        self.cursor.row = row.min(self.height - 1);
    }

    fn move_to_column(&mut self, column: usize) {
        self.cursor.column = column.min(MAX_COLUMNS - 1);
    }

    fn erase_in_display(&mut self, part: u16) {
        let Cursor { row, column, .. } = self.cursor;
        match part {
            // Nothing that was on the screen is lost: as tmux does, it becomes history.
            0 if (row, column) == (0, 0) => self.clear(),
            2 => self.clear(),
            0 => {
                if let Some(row) = self.rows.get_mut(row) {
                    row.truncate(column);
                }
                self.rows.iter_mut().skip(row + 1).for_each(|row| row.truncate(0));
            }
            1 => {
                self.rows.iter_mut().take(row).for_each(|row| row.truncate(0));
                self.erase_in_line(1);
            }
            _ => {}
        }
    }

    fn clear(&mut self) {
        let used = self.rows.iter().rposition(|row| !row.is_blank()).map_or(0, |index| index + 1);
        self.scroll(used);
    }

    fn erase_in_line(&mut self, part: u16) {
        let column = self.cursor.column;
        let Some(row) = self.rows.get_mut(self.cursor.row) else { return };
        match part {
            0 => row.truncate(column),
            1 => row.erase(0, column + 1),
            2 => row.truncate(0),
            _ => {}
        }
    }
}

impl Perform for Display {
    /// Obeys a control character within a sequence.
    fn execute(&mut self, byte: u8) {
        if !matches!(byte, CANCEL | SUBSTITUTE) {
            self.control(byte, self.position);
        }
    }

    fn esc_dispatch(&mut self, intermediates: &[u8], _ignore: bool, byte: u8) {
        if !intermediates.is_empty() {
            return;
        }
        match byte {
            b'7' => self.saved = self.cursor,
            b'8' => {
                self.shed();
                self.cursor = self.saved;
            }
            b'D' => self.line_feed(),
            b'E' => self.control(b'\n', self.position),
            b'M' => self.move_to_row(self.cursor.row.saturating_sub(1)),
            b'c' => {
                self.clear();
                self.cursor = Cursor::default();
                self.saved = Cursor::default();
            }
            _ => {}
        }
    }

    fn csi_dispatch(&mut self, params: &Params, intermediates: &[u8], ignore: bool, action: char) {
        if ignore || !intermediates.is_empty() {
            return;
        }
        let param = |index: usize| params.iter().nth(index).map_or(0, |group| group[0]);
        let count = usize::from(param(0).max(1));
        let Cursor { row, column, .. } = self.cursor;
        match action {
            'A' => self.move_to_row(row.saturating_sub(count)),
            'B' => self.move_to_row(row + count),
            'C' => self.move_to_column(column + count),
            'D' => self.move_to_column(column.saturating_sub(count)),
            'E' => {
                self.move_to_row(row + count);
                self.cursor.column = 0;
            }
            'F' => {
                self.move_to_row(row.saturating_sub(count));
                self.cursor.column = 0;
            }
            'G' | '`' => self.move_to_column(count - 1),
            'd' => self.move_to_row(count - 1),
            'H' | 'f' => {
                self.move_to_row(count - 1);
                self.move_to_column(usize::from(param(1).max(1)) - 1);
            }
            'J' => self.erase_in_display(param(0)),
            'K' => self.erase_in_line(param(0)),
            'X' => {
                if let Some(row) = self.rows.get_mut(row) {
                    row.erase(column, column + count);
                }
            }
            'm' => self.cursor.style.apply(params),
            's' => self.saved = self.cursor,
            'u' => {
                self.shed();
                self.cursor = self.saved;
            }
            _ => {}
        }
    }
}
