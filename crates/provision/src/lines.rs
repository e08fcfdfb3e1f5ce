//! What a script prints, as lines of a log: each with its time, secrets masked, nothing that a terminal would obey.
//!
//! Works in place on large blocks, because a script may print as fast as a pipe takes it.

use std::borrow::Cow;

use memchr::{memchr_iter, memrchr};

use crate::redact::Redactor;

/// How much is read at once, in bytes.
pub const BLOCK: usize = 256 * 1024;
/// A longer line is written in pieces of this, in bytes.
const PIECE: usize = 8 * 1024;
const ESCAPE: u8 = 0x1b;

/// The time before a line, and a space; of one length, because it is written millions of times.
pub type Stamp = [u8; 21];

/// A reader of lines.
#[derive(Debug)]
pub struct Lines {
    redactor: Redactor,
    buffer: Vec<u8>,
    /// So much of the buffer has been read, and is not a whole line yet.
    held: usize,
    last: Vec<u8>,
}

impl Lines {
    /// Without anything read yet.
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, buffer: vec![0; BLOCK + 4 * PIECE], held: 0, last: Vec::new() }
    }

    /// Where to read to.
    pub fn space(&mut self) -> &mut [u8] {
        let held = self.held;
        &mut self.buffer[held..]
    }

    /// Takes the first `count` bytes of [`Lines::space`], and appends what is certain now to `text`, with `stamp` before
    /// each line.
    pub fn take(&mut self, count: usize, stamp: &Stamp, text: &mut Vec<u8>) {
        let filled = self.held + count;
        let line_end = memrchr(b'\n', &self.buffer[..filled]).map_or(0, |index| index + 1);
        if line_end > 0 {
            self.write(0..line_end, stamp, text);
            self.buffer.copy_within(line_end..filled, 0);
        }
        self.held = filled - line_end;
        if self.held >= PIECE {
            self.shorten(stamp, text);
        }
    }

    /// Writes what has no end of line: nothing comes any more.
    pub fn finish(&mut self, stamp: &Stamp, text: &mut Vec<u8>) {
        if self.held > 0 {
            self.write(0..self.held, stamp, text);
            self.held = 0;
        }
    }

    /// The last line that says something, also one that has not ended; with secrets masked.
    pub fn last(&self) -> String {
        let held = &self.buffer[..self.held];
        let unfinished = plain(&self.redactor.redact(&held[..self.redactor.settled(held)])).into_owned();
        let line = if unfinished.trim_ascii().is_empty() { &self.last } else { &unfinished };
        String::from_utf8_lossy(line).trim().to_owned()
    }

    /// Makes room while a line does not end: of a progress bar only the last state counts, of anything else all.
    fn shorten(&mut self, stamp: &Stamp, text: &mut Vec<u8>) {
        let held = &self.buffer[..self.held];
        let shown = held.len() - last_state(held).len();
        let start = shown.min(self.held);
        let trailing = held[start..].trim_ascii_start().is_empty();
        let cut = if start > 0 && !trailing {
            start
        } else {
            let settled = self.redactor.settled(held);
            self.write(0..settled, stamp, text);
            settled
        };
        self.buffer.copy_within(cut..self.held, 0);
        self.held -= cut;
    }

    fn write(&mut self, range: std::ops::Range<usize>, stamp: &Stamp, text: &mut Vec<u8>) {
        let block = self.redactor.redact(&self.buffer[range]);
        let is_plain = is_plain(&block);
        let mut start = 0;
        for end in memchr_iter(b'\n', &block).chain([block.len()]) {
            if start > block.len() || (end == block.len() && start == end) {
                break;
            }
            let line = &block[start..end];
            let line = if is_plain { Cow::Borrowed(line) } else { plain(line) };
            write_line(&line, stamp, text);
            start = end + 1;
        }
        if let Some(line) = last_line(&block) {
            self.last.clear();
            self.last.extend_from_slice(&plain(line));
            self.last.truncate(PIECE);
        }
    }
}

fn write_line(mut line: &[u8], stamp: &Stamp, text: &mut Vec<u8>) {
    loop {
        let mut end = line.len().min(PIECE);
        // A piece ends before a character, not in it.
        while end < line.len() && end > PIECE - 4 && line[end] & 0xc0 == 0x80 {
            end -= 1;
        }
        text.reserve(stamp.len() + end + 1);
        text.extend_from_slice(stamp);
        text.extend_from_slice(&line[..end]);
        text.push(b'\n');
        line = &line[end..];
        if line.is_empty() {
            return;
        }
    }
}

/// The last line of a block that is not blank; looked for in its last lines only.
fn last_line(block: &[u8]) -> Option<&[u8]> {
    block.rsplit(|&byte| byte == b'\n').take(20).find(|line| !line.trim_ascii().is_empty())
}

/// Whether a block has no control characters but ends of lines and tabs.
fn is_plain(block: &[u8]) -> bool {
    // In bytes and without an early exit, so that the compiler looks at many of them at once.
    let control = |byte: u8| u8::from(byte < 0x20) & u8::from(byte != b'\n') & u8::from(byte != b'\t');
    block.chunks(4_096).all(|chunk| chunk.iter().fold(0, |found, &byte| found | control(byte)) == 0)
}

/// What a terminal would show of a line in the end: behind the last carriage return that something follows.
fn last_state(line: &[u8]) -> &[u8] {
    let trimmed = line.len() - line.iter().rev().take_while(|&&byte| byte == b'\r').count();
    let start = memrchr(b'\r', &line[..trimmed]).map_or(0, |index| index + 1);
    &line[start..trimmed]
}

/// A line as text: escape sequences are left out, other control characters are written as `\x07`.
fn plain(line: &[u8]) -> Cow<'_, [u8]> {
    let line = last_state(line);
    if is_plain(line) {
        return Cow::Borrowed(line);
    }
    let mut text = Vec::with_capacity(line.len());
    let mut rest = line;
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        match byte {
            ESCAPE => rest = behind_sequence(behind),
            b'\t' | 0x20.. => text.push(byte),
            control => text.extend(control.escape_ascii()),
        }
    }
    Cow::Owned(text)
}

/// What follows an escape sequence (ECMA-48, and the operating system commands of xterm).
fn behind_sequence(text: &[u8]) -> &[u8] {
    match text.split_first() {
        Some((b'[', rest)) => {
            let parameters = rest.iter().take_while(|byte| matches!(byte, 0x20..=0x3f)).count();
            rest.get(parameters + 1..).unwrap_or_default()
        }
        Some((b']' | b'P' | b'X' | b'^' | b'_', rest)) => {
            let end = rest.iter().position(|&byte| byte == 0x07 || byte == ESCAPE);
            match end {
                Some(end) if rest[end] == ESCAPE => rest.get(end + 2..).unwrap_or_default(),
                Some(end) => &rest[end + 1..],
                None => &[],
            }
        }
        Some((b'(' | b')' | b'#' | b'%', rest)) => rest.get(1..).unwrap_or_default(),
        Some((_, rest)) => rest,
        None => &[],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::Env;

    const SECRET: &str = "correct horse";
    const STAMP: &Stamp = b"2026-11-24T03:04:05Z ";

    fn lines() -> Lines {
        let env: Env = [("A_PASSWORD", SECRET)].into_iter().collect();
        Lines::new(Redactor::new(&env, Vec::new()).unwrap())
    }

    /// Gives the bytes in blocks of a size, and returns the log.
    fn log(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut lines = lines();
        let mut text = Vec::new();
        for block in bytes.chunks(size) {
            lines.space()[..block.len()].copy_from_slice(block);
            lines.take(block.len(), STAMP, &mut text);
        }
        lines.finish(STAMP, &mut text);
        let lines = text.split_inclusive(|&byte| byte == b'\n');
        lines.flat_map(|line| [b"T ", line.strip_prefix(STAMP).unwrap()].concat()).collect()
    }

    #[test]
    fn every_line_has_its_time_whatever_the_blocks_are() {
        let printed =
            b"one\n\ntwo correct horse\r\n 5%\r 50%\r100%\n\x1b[31mred\x1b[0m \x1b]0;t\x07\0\xff\nno end";
        let expected = b"T one\nT \nT two ********\nT 100%\nT red \\x00\xff\nT no end\n";
        for size in 1..=printed.len() {
            assert_eq!(
                log(printed, size).escape_ascii().to_string(),
                expected.escape_ascii().to_string(),
                "{size}"
            );
        }
        assert_eq!(log(b"", 1), b"");
        assert_eq!(log(b"\n", 1), b"T \n");
    }

    #[test]
    fn a_line_without_end_is_written_in_pieces_and_hides_secrets_at_every_place() {
        for offset in [0, 1, 5, 12, PIECE - 13, PIECE - 6, PIECE - 1, 2 * PIECE - 5] {
            let printed = ["x".repeat(offset).as_str(), SECRET, &"y".repeat(3 * PIECE)].concat();
            for size in [1_000, PIECE, BLOCK] {
                let text = log(printed.as_bytes(), size);
                let joined: Vec<u8> = text
                    .split(|&byte| byte == b'\n')
                    .flat_map(|line| line.get(2..).unwrap_or_default().to_vec())
                    .collect();
                let expected = ["x".repeat(offset).as_str(), "********", &"y".repeat(3 * PIECE)].concat();
                assert_eq!(String::from_utf8(joined).unwrap(), expected, "{offset} {size}");
                assert!(text.split(|&byte| byte == b'\n').all(|line| line.len() <= PIECE + 2));
            }
        }
        let accents = "é".repeat(2 * PIECE);
        let text = String::from_utf8(log(accents.as_bytes(), 100)).unwrap();
        assert_eq!(text.replace("T ", "").replace('\n', ""), accents);
    }

    #[test]
    fn a_progress_bar_that_never_ends_its_line_takes_no_memory() {
        let bar = (0..5_000).fold(String::new(), |bar, step| format!("{bar}\r{step} of 5000"));
        assert_eq!(log(bar.as_bytes(), 777), b"T 4999 of 5000\n");
    }

    #[test]
    fn the_last_line_is_known_before_it_ends() {
        let mut lines = lines();
        let mut text = Vec::new();
        let mut say = |lines: &mut Lines, said: &str| {
            lines.space()[..said.len()].copy_from_slice(said.as_bytes());
            lines.take(said.len(), STAMP, &mut text);
            lines.last()
        };
        assert_eq!(say(&mut lines, "\x1b[1mone\x1b[0m\n\n"), "one");
        assert_eq!(say(&mut lines, "10%\r20%\r"), "20%");
        assert_eq!(say(&mut lines, "done corr"), "done", "it may become a secret");
        assert_eq!(say(&mut lines, "ect horse"), "done ********");
    }
}
