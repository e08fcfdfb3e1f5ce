//! The process that remains when `provision` is killed: ends the script's session, and holds the lock until it is gone.
//!
//! Its standard input brings one byte when `provision` is done, and ends without one when `provision` was killed. Its
//! standard output is the lock, its standard error the reading end of the script's output. While a program that left the
//! script's session holds the other end, this process discards its output: without a reader, SIGPIPE would kill it.

use std::fs::File;
use std::os::fd::AsFd;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::SigSet;
use nix::unistd;

use crate::script_session;

/// Size of one read in bytes.
const BLOCK: usize = 64 * 1024;

/// Runs the hidden subcommand.
pub fn run(session: i32, time_divisor: u32) -> Outcome {
    // A signal to the group of boot and provision ends them, and this process then does its work.
    unistd::setsid().context("cannot create a session")?;
    SigSet::all().thread_block().context("cannot set the signal mask")?;
    let mut output = Output { open: true, buffer: vec![0; BLOCK] };
    if !provision_is_done()? {
        script_session::end_session(session, script_session::GRACE / time_divisor.max(1), |pause| {
            output.forget(pause);
        });
    }
    release_lock()?;
    while output.open {
        output.forget(Duration::MAX);
    }
    Ok(Exit::Done)
}

/// Waits until `provision` is done (true) or gone (false).
fn provision_is_done() -> Result<bool> {
    loop {
        match unistd::read(std::io::stdin(), &mut [0]) {
            Ok(count) => return Ok(count > 0),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error).context("cannot read from provision"),
        }
    }
}

fn release_lock() -> Result<()> {
    let null = File::options().write(true).open("/dev/null").context("cannot open /dev/null")?;
    unistd::dup2_stdout(&null).context("cannot release the lock")
}

/// Output of programs that left the script's session.
struct Output {
    open: bool,
    buffer: Vec<u8>,
}

impl Output {
    /// Reads and discards output for this time.
    fn forget(&mut self, time: Duration) {
        let stderr = std::io::stderr();
        let timeout = PollTimeout::try_from(time).unwrap_or(PollTimeout::NONE);
        if !self.open {
            // All writers have closed it; only the time remains.
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
