//! Assembles lines from bytes, in bounded memory.

use std::mem;
use std::time::{Duration, Instant};

use memchr::{memchr, memrchr};

/// Maximum length of a piece in bytes; with its service, it fits into one entry of Docker's log.
const MAX_LENGTH: usize = 15 * 1024;
/// Maximum length of a line of the merged log: a time, a name, and four characters for each byte that is not text.
const MAX_ENTRY: usize = 64 * 1024;
/// Time without another byte, after which an incomplete line is shown.
const LINE_TIMEOUT: Duration = Duration::from_secs(1);
/// Interval in which a progress bar, which redraws its line, is shown.
const PROGRESS_INTERVAL: Duration = Duration::from_secs(10);

/// A line, or a piece of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Piece<'a> {
    /// Without the newline.
    pub text: &'a [u8],
    /// True if its start was emitted before.
    pub continues: bool,
    /// True if the line has ended.
    pub ended: bool,
}

/// Assembles lines.
#[derive(Debug)]
pub struct LineAssembler {
    longest: usize,
    pending: Vec<u8>,
    continues: bool,
    /// Times of the first and the last pending byte.
    times: Option<(Instant, Instant)>,
}

impl Default for LineAssembler {
    fn default() -> Self {
        Self { longest: MAX_LENGTH, pending: Vec::new(), continues: false, times: None }
    }
}

impl LineAssembler {
    /// Returns an assembler for lines of the merged log.
    pub fn for_merged_log() -> Self {
        Self { longest: MAX_ENTRY, ..Self::default() }
    }

    /// Takes more bytes, and emits complete lines.
    pub fn feed(&mut self, mut bytes: &[u8], now: Instant, emit: &mut dyn FnMut(Piece<'_>)) {
        while let Some(end) = memchr(b'\n', bytes) {
            let (line, rest) = bytes.split_at(end);
            bytes = &rest[1..];
            if self.pending.is_empty() && line.len() <= self.longest {
                emit(Piece { text: line, continues: mem::take(&mut self.continues), ended: true });
                continue;
            }
            self.extend(line, emit);
            emit(Piece { text: &self.pending, continues: mem::take(&mut self.continues), ended: true });
            self.pending.clear();
            self.times = None;
        }
        if !bytes.is_empty() {
            self.extend(bytes, emit);
            self.times = Some((self.times.map_or(now, |(began, _)| began), now));
        }
    }

    fn extend(&mut self, mut bytes: &[u8], emit: &mut dyn FnMut(Piece<'_>)) {
        while self.pending.len() + bytes.len() > self.longest {
            let room = self.longest - self.pending.len();
            self.pending.extend_from_slice(&bytes[..room]);
            bytes = &bytes[room..];
            if let Some(drawn_again) = memrchr(b'\r', &self.pending[..self.longest - 1]) {
                // Text that was overwritten is dropped.
                self.pending.drain(..drawn_again);
                if self.pending.len() < self.longest {
                    continue;
                }
            }
            let end = character_boundary(&self.pending);
            let rest = self.pending.split_off(end);
            self.show(emit);
            self.pending = rest;
        }
        self.pending.extend_from_slice(bytes);
    }

    fn show(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        emit(Piece { text: &self.pending, continues: self.continues, ended: false });
        self.continues = true;
        self.pending.clear();
    }

    /// Returns the time at which [`LineAssembler::flush_overdue`] has something to emit.
    pub fn next_deadline(&self) -> Option<Instant> {
        let (began, touched) = self.times?;
        Some(if memchr(b'\r', &self.pending).is_some() {
            began + PROGRESS_INTERVAL
        } else {
            touched + LINE_TIMEOUT
        })
    }

    /// Emits a line that has been incomplete for too long.
    pub fn flush_overdue(&mut self, now: Instant, emit: &mut dyn FnMut(Piece<'_>)) {
        if self.next_deadline().is_some_and(|due| due <= now) {
            self.finish(emit);
        }
    }

    /// Emits what is pending.
    pub fn finish(&mut self, emit: &mut dyn FnMut(Piece<'_>)) {
        if !self.pending.is_empty() {
            self.show(emit);
        }
        self.times = None;
    }

    /// Marks missing bytes: emits what is pending. `goes_on` is true if the next bytes continue a line without its start.
    pub fn break_line(&mut self, goes_on: bool, emit: &mut dyn FnMut(Piece<'_>)) {
        self.finish(emit);
        self.continues = goes_on;
    }

    /// Returns the number of bytes that were not emitted.
    pub fn pending(&self) -> u64 {
        self.pending.len() as u64
    }
}

/// Returns the end of the last complete character; the end of bytes that are not text.
fn character_boundary(bytes: &[u8]) -> usize {
    match std::str::from_utf8(&bytes[bytes.len().saturating_sub(4)..]) {
        Err(error) if error.error_len().is_none() => bytes.len().saturating_sub(4) + error.valid_up_to(),
        // Four bytes from anywhere may begin inside a character, and end inside another.
        _ => (bytes.len().saturating_sub(3)..bytes.len())
            .rev()
            .find(|&index| bytes[index] >= 0xc0)
            .filter(|&index| bytes.len() - index < width(bytes[index]))
            .unwrap_or(bytes.len()),
    }
}

/// Returns the length of a character by its first byte (RFC 3629).
fn width(first: u8) -> usize {
    match first {
        0xf0.. => 4,
        0xe0.. => 3,
        _ => 2,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Shown = (String, bool, bool);

    fn keep(into: &mut Vec<Shown>) -> impl FnMut(Piece<'_>) + '_ {
        |piece| {
            into.push((String::from_utf8(piece.text.to_vec()).unwrap(), piece.continues, piece.ended));
        }
    }

    fn whole(text: &str) -> Shown {
        (text.to_owned(), false, true)
    }

    #[test]
    fn lines_are_the_same_however_the_bytes_are_cut() {
        let text = b"one\n\ntwo\nthree\n";
        for size in 1..=text.len() {
            let (mut lines, mut shown) = (LineAssembler::default(), Vec::new());
            for part in text.chunks(size) {
                lines.feed(part, Instant::now(), &mut keep(&mut shown));
            }
            assert_eq!(shown, [whole("one"), whole(""), whole("two"), whole("three")], "{size}");
            assert_eq!(lines.pending(), 0);
        }
    }

    #[test]
    fn a_line_without_an_end_is_shown_after_a_while_and_completed_later() {
        let (mut lines, mut shown, now) = (LineAssembler::default(), Vec::new(), Instant::now());
        lines.feed(b"password: ", now, &mut keep(&mut shown));
        lines.flush_overdue(now + LINE_TIMEOUT / 2, &mut keep(&mut shown));
        assert_eq!((shown.len(), lines.next_deadline()), (0, Some(now + LINE_TIMEOUT)));
        lines.flush_overdue(now + LINE_TIMEOUT, &mut keep(&mut shown));
        lines.feed(b"given\nnext\n", now, &mut keep(&mut shown));
        assert_eq!(shown, [("password: ".into(), false, false), ("given".into(), true, true), whole("next")]);
    }

    #[test]
    fn a_bar_that_never_ends_is_shown_now_and_then_and_takes_no_memory() {
        let (mut lines, mut shown, now) = (LineAssembler::default(), Vec::new(), Instant::now());
        for step in 0..100_000 {
            lines.feed(format!("\rstep {step}").as_bytes(), now, &mut keep(&mut shown));
            assert!(lines.pending() <= MAX_LENGTH as u64);
        }
        lines.flush_overdue(now + LINE_TIMEOUT, &mut keep(&mut shown));
        assert_eq!(shown, []);
        lines.flush_overdue(now + PROGRESS_INTERVAL, &mut keep(&mut shown));
        assert!(shown.len() == 1 && shown[0].0.ends_with("\rstep 99999"));
    }

    #[test]
    fn a_line_of_10_mb_comes_in_pieces_that_are_the_line() {
        let text = "äöü→𝄞x".repeat(10_000_000 / 15);
        let mut shown = Vec::new();
        let mut lines = LineAssembler::default();
        for part in text.as_bytes().chunks(100_000) {
            lines.feed(part, Instant::now(), &mut keep(&mut shown));
        }
        lines.feed(b"\n", Instant::now(), &mut keep(&mut shown));
        assert!(shown.iter().all(|(piece, ..)| piece.len() <= MAX_LENGTH));
        assert!(!shown[0].1 && shown[1..].iter().all(|(_, continues, _)| *continues));
        assert!(shown.pop().is_some_and(|last| {
            let ended = last.2;
            shown.push(last);
            ended
        }));
        assert_eq!(shown.into_iter().map(|(piece, ..)| piece).collect::<String>(), text);
    }
}
