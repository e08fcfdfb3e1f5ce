//! Converts a script's output into lines of the log: with a time, secrets masked, without control sequences.
//!
//! Secrets are masked after control sequences are removed, because a colour in the middle of a secret would hide it. Works
//! in place on large blocks, because a script may print as fast as a pipe takes it.

use memchr::{memchr_iter, memrchr};
use redact::Redactor;
use terminal::plain_text::{complete_prefix, line as plain_line, lines as plain_lines};

/// Size of one read in bytes.
pub const BLOCK: usize = 256 * 1024;
/// Maximum length of a line in bytes; longer ones are written in pieces.
const PIECE: usize = 8 * 1024;

/// Time and space before a line; of fixed length, because it is written millions of times.
pub type Stamp = [u8; 21];

/// Assembles lines and writes them as text of the log.
#[derive(Debug)]
pub struct LineAssembler {
    redactor: Redactor,
    buffer: Vec<u8>,
    /// Length of the incomplete line at the start of the buffer.
    held: usize,
    last: Vec<u8>,
}

impl LineAssembler {
    pub fn new(redactor: Redactor) -> Self {
        Self { redactor, buffer: vec![0; BLOCK + 4 * PIECE], held: 0, last: Vec::new() }
    }

    /// Returns the free part of the buffer, to read into.
    pub fn buffer(&mut self) -> &mut [u8] {
        let held = self.held;
        &mut self.buffer[held..]
    }

    /// Takes the first `count` bytes of [`LineAssembler::buffer`], and appends complete lines to `text`, with `stamp` before
    /// each.
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

    /// Writes the incomplete line at the end of the output.
    pub fn finish(&mut self, stamp: &Stamp, text: &mut Vec<u8>) {
        if self.held > 0 {
            self.write(0..self.held, stamp, text);
            self.held = 0;
        }
    }

    /// Returns the last line that is not blank, also an incomplete one, with secrets masked.
    pub fn last(&self) -> String {
        let held = &self.buffer[..self.held];
        let shown = plain_line(&held[..complete_prefix(held)]);
        let unfinished = self.redactor.redact(&shown[..self.redactor.safe_prefix(&shown)]);
        let line = if unfinished.trim_ascii().is_empty() { &self.last } else { &*unfinished };
        String::from_utf8_lossy(line).trim().to_owned()
    }

    /// Frees the buffer of an endless line: writes the text that is final, and keeps only the last state of a progress bar.
    fn shorten(&mut self, stamp: &Stamp, text: &mut Vec<u8>) {
        let held = &self.buffer[..self.held];
        let (held, begun) = held.split_at(complete_prefix(held));
        let shown = plain_line(held);
        let settled = if shown.len() < PIECE { 0 } else { self.redactor.safe_prefix(&shown) };
        if settled > 0 {
            put(&self.redactor.redact(&shown[..settled]), &mut self.last, stamp, text);
        }
        // The kind of an endless sequence is enough to recognize the bytes that belong to it.
        let begun = if begun.len() < PIECE { begun } else { &begun[..2] };
        let rest = [&shown[settled..], begun].concat();
        self.buffer[..rest.len()].copy_from_slice(&rest);
        self.held = rest.len();
    }

    fn write(&mut self, range: std::ops::Range<usize>, stamp: &Stamp, text: &mut Vec<u8>) {
        let shown = plain_lines(&self.buffer[range]);
        put(&self.redactor.redact(&shown), &mut self.last, stamp, text);
    }
}

/// Appends lines to `text`, and keeps the last one that is not blank.
fn put(block: &[u8], last: &mut Vec<u8>, stamp: &Stamp, text: &mut Vec<u8>) {
    let mut start = 0;
    for end in memchr_iter(b'\n', block).chain([block.len()]) {
        if end < block.len() || start < end {
            write_line(&block[start..end], stamp, text);
        }
        start = end + 1;
    }
    if let Some(line) = last_line(block) {
        last.clear();
        last.extend_from_slice(&line[..line.len().min(PIECE)]);
    }
}

fn write_line(mut line: &[u8], stamp: &Stamp, text: &mut Vec<u8>) {
    loop {
        let mut end = line.len().min(PIECE);
        // A piece does not end within a character.
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

/// Returns the last line of a block that is not blank; only its last 20 lines are searched. Traces (`set -x`) of what the script
/// does not do itself do not count, such as those of `~/.bash_logout` after its end.
fn last_line(block: &[u8]) -> Option<&[u8]> {
    let counts = |line: &&[u8]| !line.trim_ascii().is_empty() && !line.starts_with(b"++");
    block.rsplit(|&byte| byte == b'\n').take(20).find(counts)
}

#[cfg(test)]
mod tests {
    use super::*;
    use kit::Env;

    const SECRET: &str = "correct horse";
    const STAMP: &Stamp = b"2026-11-24T03:04:05Z ";

    fn lines() -> LineAssembler {
        let env: Env = [("A_PASSWORD", SECRET)].into_iter().collect();
        LineAssembler::new(Redactor::new(&env, Vec::new()).unwrap())
    }

    /// Returns the log of bytes that come in blocks of a size.
    fn log(bytes: &[u8], size: usize) -> Vec<u8> {
        let mut lines = lines();
        let mut text = Vec::new();
        for block in bytes.chunks(size) {
            lines.buffer()[..block.len()].copy_from_slice(block);
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
    fn a_secret_with_colours_in_it_is_found_whatever_the_blocks_and_pieces_are() {
        let coloured = "correct\x1b[01;31m\x1b[K ho\x1b]0;title\x07rse";
        let short = [coloured, "\n", coloured, "\r\n", coloured].concat();
        for size in 1..=short.len() {
            let text = String::from_utf8(log(short.as_bytes(), size)).unwrap();
            assert_eq!(text, "T ********\nT ********\nT ********\n", "{size}");
        }
        for offset in PIECE - 40..PIECE + 10 {
            let printed = ["x".repeat(offset).as_str(), coloured, &"y".repeat(PIECE)].concat();
            for size in [PIECE - 20, PIECE, PIECE + 7, BLOCK] {
                let text = String::from_utf8(log(printed.as_bytes(), size)).unwrap();
                let expected = ["x".repeat(offset).as_str(), "********", &"y".repeat(PIECE)].concat();
                assert_eq!(text.replace("T ", "").replace('\n', ""), expected, "{offset} {size}");
            }
        }
    }

    #[test]
    fn the_last_line_hides_a_secret_with_colours_in_it_too() {
        let mut lines = lines();
        let mut text = Vec::new();
        for (said, last) in
            [("say corr\x1b[1", "say"), ("mect\x1b[m horse", "say ********"), ("\n", "say ********")]
        {
            lines.buffer()[..said.len()].copy_from_slice(said.as_bytes());
            lines.take(said.len(), STAMP, &mut text);
            assert_eq!(lines.last(), last);
        }
    }

    #[test]
    fn a_sequence_that_never_ends_takes_no_memory_and_is_not_shown() {
        let printed = ["seen\x1b]0;", &"x".repeat(3 * BLOCK), "\nnext"].concat();
        for size in [PIECE, BLOCK] {
            assert_eq!(log(printed.as_bytes(), size), b"T seen\nT next\n");
        }
    }

    #[test]
    fn a_long_line_whose_end_comes_in_two_parts_loses_nothing() {
        let line = "x".repeat(PIECE);
        let text = String::from_utf8(log(format!("{line}\r\n").as_bytes(), PIECE + 1)).unwrap();
        assert!(text.replace("T ", "").replace('\n', "") == line, "{} bytes", text.len());
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
        let mut say = |lines: &mut LineAssembler, said: &str| {
            lines.buffer()[..said.len()].copy_from_slice(said.as_bytes());
            lines.take(said.len(), STAMP, &mut text);
            lines.last()
        };
        assert_eq!(say(&mut lines, "\x1b[1mone\x1b[0m\n\n"), "one");
        assert_eq!(say(&mut lines, "+ exit 3\n++ '[' 1 = 1 ']'\n++ clear_console -q\n"), "+ exit 3");
        assert_eq!(say(&mut lines, "10%\r20%\r"), "20%");
        assert_eq!(say(&mut lines, "done corr"), "done", "it may become a secret");
        assert_eq!(say(&mut lines, "ect horse"), "done ********");
    }
}
