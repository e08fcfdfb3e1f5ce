//! The output: a pipe or terminal that may block, without blocking this process.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use anyhow::{Context, Result};
use nix::fcntl::{FcntlArg, fcntl};
use nix::libc::{O_NOCTTY, O_NONBLOCK};

/// Size of the pipe in bytes, so that its reader wakes up less often. More requires privileges (pipe(7)).
const PIPE_BYTES: i32 = 1024 * 1024;

/// An output, with a buffer of unwritten lines.
#[derive(Debug)]
pub struct Output {
    file: File,
    buffer: Vec<u8>,
    taken: usize,
}

impl Output {
    /// Opens the standard output of a process by its path below `/proc`.
    ///
    /// A pipe or terminal is opened again, so that `O_NONBLOCK` applies to our description only.
    pub fn open(descriptor: &Path) -> Result<Self> {
        let cannot = || format!("cannot write to {}", descriptor.display());
        let kind = descriptor.metadata().with_context(cannot)?.file_type();
        let mut options = OpenOptions::new();
        let own = descriptor == Path::new(STDOUT);
        let file = if own && !kind.is_fifo() && !kind.is_char_device() {
            io::stdout().as_fd().try_clone_to_owned().map(File::from)
        } else {
            // A pipe without a reader cannot be opened like this (fifo(7)).
            let unread = |error: io::Error| match error.raw_os_error() {
                Some(nix::libc::ENXIO) if kind.is_fifo() => io::ErrorKind::BrokenPipe.into(),
                _ => error,
            };
            options.append(true).custom_flags(O_NONBLOCK | O_NOCTTY).open(descriptor).map_err(unread)
        };
        let file = file.with_context(cannot)?;
        if kind.is_fifo() {
            // It fails if the user has too many pipes.
            let _ = fcntl(&file, FcntlArg::F_SETPIPE_SZ(PIPE_BYTES));
        }
        Ok(Self { file, buffer: Vec::new(), taken: 0 })
    }

    /// Returns the buffer, to append lines to.
    pub fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }

    /// Writes what the output accepts now; returns true if that was everything.
    pub fn write(&mut self) -> io::Result<bool> {
        while self.taken < self.buffer.len() {
            match self.file.write(&self.buffer[self.taken..]) {
                Ok(written) => self.taken += written,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(false),
                Err(error) => return Err(error),
            }
        }
        self.buffer.clear();
        self.taken = 0;
        Ok(true)
    }
}

/// Standard output of this process.
pub const STDOUT: &str = "/proc/self/fd/1";

impl AsFd for Output {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::AsRawFd;

    use super::*;

    #[test]
    fn a_full_pipe_is_not_waited_for_and_everything_arrives_in_the_end() {
        let (mut reader, writer) = io::pipe().unwrap();
        let mut outlet = Output::open(Path::new(&format!("/proc/self/fd/{}", writer.as_raw_fd()))).unwrap();
        drop(writer);
        let sent: Vec<u8> = (0..=255).cycle().take(3_000_000).collect();
        outlet.buffer().extend_from_slice(&sent);
        let mut got = vec![0; sent.len()];
        let mut at = 0;
        while !outlet.write().unwrap() {
            let end = (at + 10_000).min(got.len());
            reader.read_exact(&mut got[at..end]).unwrap();
            at = end;
        }
        assert!(at > 0, "a pipe holds less than this");
        reader.read_exact(&mut got[at..]).unwrap();
        assert!(got == sent && outlet.buffer().is_empty());
    }
}
