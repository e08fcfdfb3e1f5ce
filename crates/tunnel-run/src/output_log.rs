//! Copies the output of cloudflared into a log, in bounded size, and reads causes from it.

use std::io::{self, Read, Write};
use std::mem;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use kit::quote::escape_control_line;
use kit::rotating_log::{Keep, RotatingLog};

use crate::diagnosis::Diagnosis;

/// Maximum length of a line; the rest is dropped.
const MAX_LINE: usize = 4_096;
/// Lines that are copied in [`WINDOW`]; the others are counted. Every line also goes to the container's output.
const MAX_LINES: u32 = 100;
const WINDOW: Duration = Duration::from_secs(10);
/// Size of a log at which it is rotated.
const MAX_SIZE: u64 = 1_000_000;
/// Beginnings of the lines of boxes. One shows the address before the first connection, when a visit is harmful: the answer
/// without addresses is kept by resolvers for half an hour.
const BOXES: [&str; 2] = [" INF |", " INF +"];

/// Destination of the lines.
#[derive(Debug)]
pub enum Destination {
    /// A file, and an older one beside it.
    File(RotatingLog),
    /// Standard error, which supervisord writes to a file.
    Stderr,
}

impl Destination {
    /// Returns a log file that is bounded by rotation.
    pub fn file(path: PathBuf) -> Self {
        Self::File(RotatingLog::new(path, MAX_SIZE, Keep::Newest(1)))
    }

    /// Writes a line; a full disk must not end a tunnel.
    pub fn write(&mut self, line: &str) {
        let line = format!("{}\n", escape_control_line(line));
        match self {
            Self::File(log) => drop(log.write(line.as_bytes())),
            Self::Stderr => drop(io::stderr().write_all(line.as_bytes())),
        }
    }
}

/// Findings and the log, shared with the thread that copies.
#[derive(Debug)]
pub struct OutputLog {
    /// Findings in the output.
    pub diagnosis: Diagnosis,
    /// Destination of the lines.
    pub destination: Destination,
    lines_in_window: u32,
    window_began: Option<Instant>,
}

impl OutputLog {
    /// Returns a log without lines.
    pub fn new(destination: Destination) -> Self {
        Self { diagnosis: Diagnosis::default(), destination, lines_in_window: 0, window_began: None }
    }

    fn line(&mut self, line: &[u8], now: Instant) {
        let line = String::from_utf8_lossy(line);
        let line = line.trim_end();
        self.diagnosis.read(line, now);
        if BOXES.iter().any(|part| line.get(20..).is_some_and(|rest| rest.starts_with(part))) {
            return;
        }
        if self.window_began.is_none_or(|began| now - began >= WINDOW) {
            self.report_dropped();
            self.window_began = Some(now);
        }
        self.lines_in_window += 1;
        if self.lines_in_window <= MAX_LINES {
            self.destination.write(line);
        }
    }

    fn report_dropped(&mut self) {
        let dropped = mem::take(&mut self.lines_in_window).saturating_sub(MAX_LINES);
        if dropped > 0 {
            self.destination.write(&format!("… {dropped} lines dropped"));
        }
    }
}

/// Copies everything to the end of the output.
pub fn copy(mut output: impl Read, log: &Mutex<OutputLog>) {
    let (mut buffer, mut line) = (vec![0; 64 * 1024], Vec::new());
    let lock = || log.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        let count = match output.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(_) => break,
        };
        let now = Instant::now();
        let mut log = lock();
        let mut pieces = buffer[..count].split(|byte| *byte == b'\n').peekable();
        while let Some(piece) = pieces.next() {
            let room = MAX_LINE - line.len();
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            if pieces.peek().is_some() {
                log.line(&line, now);
                line.clear();
            }
        }
    }
    let mut log = lock();
    if !line.is_empty() {
        log.line(&line, Instant::now());
    }
    log.report_dropped();
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    /// Returns the log of an output.
    fn copied(output: &[u8]) -> (String, Diagnosis) {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("x.log");
        let log = Mutex::new(OutputLog::new(Destination::file(path.clone())));
        copy(output, &log);
        (fs::read_to_string(path).unwrap_or_default(), log.into_inner().unwrap().diagnosis)
    }

    #[test]
    fn the_address_in_a_box_is_left_out_and_control_characters_are_escaped() {
        let (log, diagnosis) = copied(
            b"2026-01-01T00:00:00Z INF +----+\n2026-01-01T00:00:00Z INF |  https://x.trycloudflare.com  |\n\
              2026-01-01T00:00:00Z INF a\x1b[31mb\xff\nlast",
        );
        assert_eq!(log, "2026-01-01T00:00:00Z INF a\\u{1b}[31mb\u{fffd}\nlast\n");
        assert_eq!(diagnosis.last_line, "last");
    }

    #[test]
    fn a_flood_and_an_endless_line_are_cut() {
        let (log, _) = copied("x\n".repeat(100_000).as_bytes());
        let lines: Vec<&str> = log.lines().collect();
        assert_eq!(lines[..MAX_LINES as usize], ["x"; MAX_LINES as usize]);
        assert!(lines[100].starts_with("… ") && lines[100].ends_with(" lines dropped"), "{}", lines[100]);
        let (log, _) = copied(&vec![b'x'; 10 << 20]);
        assert_eq!(log.len(), MAX_LINE + 1);
    }
}
