//! What stays when `provision` is killed: somebody who ends the script's processes, and keeps the lock until they are gone.
//!
//! It knows three descriptors: the standard input, on which `provision` tells the session's number and `done` and whose
//! end means that `provision` is gone; the standard output, which is the lock; and the standard error, which is the
//! reading end of the script's output. As long as a program that left the script's session holds the other end, this
//! process takes what it prints and forgets it: without a reader, the first line that it prints would kill it.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd;

use crate::session;

/// How much is taken at once, in bytes.
const BLOCK: usize = 64 * 1024;
/// Longer than what is ever said.
const LONGEST_WORD: usize = 64;

/// What `provision` said so far.
#[derive(Debug, Default)]
struct Heard {
    text: Vec<u8>,
    session: Option<i32>,
    done: bool,
}

impl Heard {
    fn hear(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
        while let Some(end) = self.text.iter().position(|&byte| byte == b'\n') {
            let word: Vec<u8> = self.text.drain(..=end).collect();
            match String::from_utf8_lossy(&word).trim() {
                "done" => self.done = true,
                number => self.session = number.parse().ok().or(self.session),
            }
        }
        self.text.truncate(LONGEST_WORD);
    }
}

/// Runs the hidden subcommand.
pub fn run(hurry: u32) -> Outcome {
    // Whoever ends the group of boot and provision means them, and what we are for begins then.
    unistd::setsid().context("cannot make a session")?;
    SigSet::all().thread_block().context("cannot set the signal mask")?;
    let mut output = Output { open: true, buffer: vec![0; BLOCK] };
    let heard = listen(&mut output)?;
    if let (Some(session), false) = (heard.session, heard.done) {
        session::end(session, session::GRACE / hurry.max(1), |pause| output.forget(pause));
    }
    release_lock()?;
    while output.open {
        output.forget(Duration::MAX);
    }
    Ok(Exit::Done)
}

/// Until `provision` is done or gone. The output is `provision`'s to read meanwhile.
fn listen(output: &mut Output) -> Result<Heard> {
    let mut heard = Heard::default();
    loop {
        match unistd::read(std::io::stdin(), &mut output.buffer[..LONGEST_WORD]) {
            Ok(0) => return Ok(heard),
            Ok(count) => heard.hear(&output.buffer[..count]),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot hear from provision"),
        }
        if heard.done {
            return Ok(heard);
        }
    }
}

fn release_lock() -> Result<()> {
    let null = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    unistd::dup2_stdout(&null).context("cannot let go of the lock")
}

/// What the script's programs still print.
struct Output {
    open: bool,
    buffer: Vec<u8>,
}

impl Output {
    /// Takes what comes within a time.
    fn forget(&mut self, time: Duration) {
        let stderr = std::io::stderr();
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::NONE);
        if !self.open {
            // Nobody prints any more; what is left is the time.
            let _ = poll(&mut [], timeout);
            return;
        }
        let mut polled = [PollFd::new(stderr.as_fd(), PollFlags::POLLIN)];
        if poll(&mut polled, timeout).is_ok_and(|ready| ready > 0) {
            match unistd::read(&stderr, &mut self.buffer) {
                Ok(0) => self.open = false,
                Ok(_) | Err(Errno::EINTR | Errno::EAGAIN) => {}
                Err(_) => self.open = false,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_heard_whatever_pieces_they_come_in() {
        let mut heard = Heard::default();
        for piece in [&b"12"[..], b"34", b"\ndo"] {
            heard.hear(piece);
        }
        assert_eq!((heard.session, heard.done), (Some(1234), false));
        heard.hear(b"ne\n");
        assert_eq!((heard.session, heard.done), (Some(1234), true));
    }
}
