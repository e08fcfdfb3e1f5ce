//! Unix sockets with a deadline for the whole exchange, not for each read: a peer that sends a byte now and then does not
//! hold a thread.

use std::io::{self, Read, Write};
use std::os::fd::AsRawFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

use nix::sys::socket::sockopt::SendTimeout;
use nix::sys::socket::{AddressFamily, SockFlag, SockType, UnixAddr, connect, setsockopt, socket};
use nix::sys::time::{TimeVal, TimeValLike};

/// A stream whose reads and writes fail after a deadline.
pub struct Connection {
    stream: UnixStream,
    deadline: Instant,
}

impl Connection {
    /// Limits an accepted connection.
    pub fn new(stream: UnixStream, time: Duration) -> Self {
        Self { stream, deadline: Instant::now() + time }
    }

    /// Connects to a socket. Without a time limit, this waits for ever while the listener's queue is full.
    pub fn open(path: &Path, time: Duration) -> io::Result<Self> {
        let deadline = Instant::now() + time;
        let fd = socket(AddressFamily::Unix, SockType::Stream, SockFlag::SOCK_CLOEXEC, None)?;
        let limit = TimeVal::milliseconds(i64::try_from(time.as_millis()).unwrap_or(i64::MAX));
        setsockopt(&fd, SendTimeout, &limit)?;
        connect(fd.as_raw_fd(), &UnixAddr::new(path)?)?;
        Ok(Self { stream: fd.into(), deadline })
    }

    /// Starts another period.
    pub fn extend(&mut self, time: Duration) {
        self.deadline = Instant::now() + time;
    }

    /// Reads up to and without a newline, or until the end; at most `limit` bytes.
    pub fn read_line(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let mut line = Vec::new();
        let mut buffer = [0; 4096];
        loop {
            let count = self.read(&mut buffer)?;
            let end = buffer[..count].iter().position(|byte| *byte == b'\n');
            line.extend_from_slice(&buffer[..end.unwrap_or(count)]);
            if line.len() > limit {
                return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
            }
            if end.is_some() || count == 0 {
                return Ok(line);
            }
        }
    }

    /// Reads until the end, at most `limit` bytes.
    pub fn read_all(&mut self, limit: u64) -> io::Result<Vec<u8>> {
        let mut all = Vec::new();
        self.take(limit + 1).read_to_end(&mut all)?;
        if all.len() as u64 > limit {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "the message is too long"));
        }
        Ok(all)
    }

    fn left(&self) -> io::Result<Duration> {
        let left = self.deadline.saturating_duration_since(Instant::now());
        if left.is_zero() { Err(io::ErrorKind::TimedOut.into()) } else { Ok(left) }
    }
}

impl Read for Connection {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.stream.set_read_timeout(Some(self.left()?))?;
        self.stream.read(buffer)
    }
}

impl Write for Connection {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        self.stream.set_write_timeout(Some(self.left()?))?;
        self.stream.write(buffer)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_ends_at_its_newline_at_the_end_or_at_the_limit() {
        for (sent, limit, expected) in [
            (&b"abc\ndef"[..], 3, Some(&b"abc"[..])),
            (b"abc", 3, Some(b"abc")),
            (b"", 3, Some(b"")),
            (b"abcd\n", 3, None),
            (&[b'x'; 9_000], 5_000, None),
        ] {
            let (ours, mut theirs) = UnixStream::pair().unwrap();
            theirs.write_all(sent).unwrap();
            drop(theirs);
            let read = Connection::new(ours, Duration::from_mins(1)).read_line(limit);
            assert_eq!(read.ok().as_deref(), expected);
        }
    }

    #[test]
    fn a_peer_that_sends_slowly_meets_the_deadline() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        let mut connection = Connection::new(ours, Duration::from_millis(100));
        let slow = std::thread::spawn(move || {
            // Ends when the other side is closed.
            while (&theirs).write_all(b"x").is_ok() {
                std::thread::park_timeout(Duration::from_millis(20));
            }
        });
        let error = connection.read_line(usize::MAX).unwrap_err();
        assert!(matches!(error.kind(), io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock), "{error}");
        drop(connection);
        slow.join().unwrap();
    }

    #[test]
    fn a_listener_that_accepts_nothing_does_not_hold_its_clients() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s");
        let _listener = std::os::unix::net::UnixListener::bind(&path).unwrap();
        let mut waiting = Vec::new();
        let refused = loop {
            match Connection::open(&path, Duration::from_millis(50)) {
                Ok(connection) => waiting.push(connection),
                Err(error) => break error,
            }
        };
        assert_eq!(refused.kind(), io::ErrorKind::WouldBlock, "after {} connections", waiting.len());
    }
}
