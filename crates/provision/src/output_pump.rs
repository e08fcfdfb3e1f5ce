//! Moves a script's output from its pipe into the log.

use std::fs::File;
use std::io::PipeReader;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::time::{Duration, SystemTime};

use kit::rfc3339;
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::unistd;

use crate::line_assembler::{LineAssembler, Stamp};
use crate::progress_reporter::ProgressReporter;
use crate::script_session;

/// Size of the pipe in bytes: the maximum without privileges (pipe(7)).
pub const PIPE: i32 = 1 << 20;

/// Reads a script's output and writes it as lines.
pub struct OutputPump<'a> {
    reader: PipeReader,
    pub lines: LineAssembler,
    pub progress: &'a mut ProgressReporter,
    text: Vec<u8>,
    clock: Clock,
    /// True while a process has the pipe open for writing.
    pub open: bool,
}

impl<'a> OutputPump<'a> {
    /// Reads from a pipe that does not block.
    pub fn new(reader: PipeReader, lines: LineAssembler, progress: &'a mut ProgressReporter) -> Self {
        Self { reader, lines, progress, text: Vec::new(), clock: Clock::new(), open: true }
    }

    /// Waits for output or for other descriptors; returns which are ready, the output first.
    pub fn wait(&self, time: Duration, others: &[BorrowedFd<'_>]) -> Vec<bool> {
        let own = if self.open { PollFlags::POLLIN } else { PollFlags::empty() };
        let mut polled = vec![PollFd::new(self.reader.as_fd(), own)];
        if !self.open {
            // A closed pipe is always ready.
            polled.clear();
        }
        polled.extend(others.iter().map(|other| PollFd::new(*other, PollFlags::POLLIN)));
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::MAX);
        // Interrupted: nothing is ready, and the caller waits again.
        let _ = poll(&mut polled, timeout);
        let mut ready: Vec<bool> =
            polled.iter().map(|fd| fd.revents().is_some_and(|events| !events.is_empty())).collect();
        if !self.open {
            ready.insert(0, false);
        }
        ready
    }

    /// Reads at most `times` times; returns the number of bytes.
    pub fn read(&mut self, times: usize) -> usize {
        let mut sum = 0;
        for _ in 0..times {
            match unistd::read(&self.reader, self.lines.buffer()) {
                Ok(0) => {
                    self.open = false;
                    break;
                }
                Ok(count) => {
                    sum += count;
                    self.text.clear();
                    self.lines.take(count, self.clock.now(), &mut self.text);
                    self.progress.log.write(&self.text);
                }
                Err(Errno::EINTR) => {}
                Err(Errno::EAGAIN) => break,
                Err(_) => {
                    self.open = false;
                    break;
                }
            }
        }
        sum
    }

    /// Reads output for this time, but at most the content of the pipe, so that an endless printer does not block.
    pub fn drain(&mut self, time: Duration) {
        let ready = self.wait(time, &[]);
        let most = usize::try_from(PIPE).unwrap_or_default();
        let mut sum = 0;
        while ready[0] && self.open && sum < most {
            match self.read(1) {
                0 => break,
                count => sum += count,
            }
        }
    }

    pub fn finish(&mut self) {
        self.text.clear();
        self.lines.finish(self.clock.now(), &mut self.text);
        self.progress.log.write(&self.text);
    }

    /// Returns the programs outside of the script's session that still have the pipe open.
    pub fn remaining(&mut self, session: i32) -> Vec<String> {
        if !self.open {
            return Vec::new();
        }
        let Ok(reader) = self.reader.try_clone() else { return Vec::new() };
        let pipe = File::from(OwnedFd::from(reader)).metadata().map_or(0, |meta| meta.ino());
        script_session::pipe_writers(pipe, session).iter().map(script_session::describe).collect()
    }
}

/// Time before each line, formatted once a second.
#[derive(Debug)]
struct Clock {
    second: u64,
    text: Stamp,
}

impl Clock {
    fn new() -> Self {
        Self { second: u64::MAX, text: *b"1970-01-01T00:00:00Z " }
    }

    fn now(&mut self) -> &Stamp {
        let now = SystemTime::now();
        let second = now.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_secs());
        if second != self.second {
            self.second = second;
            // Years of four digits have this length.
            if let Ok(text) = format!("{} ", rfc3339::seconds(now)).as_bytes().try_into() {
                self.text = text;
            }
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stamp_is_the_present_time_and_a_space() {
        let mut clock = Clock::new();
        let before = rfc3339::seconds(SystemTime::now());
        let stamp = String::from_utf8(clock.now().to_vec()).unwrap();
        let after = rfc3339::seconds(SystemTime::now());
        assert!(stamp == format!("{before} ") || stamp == format!("{after} "), "{stamp}");
    }
}
