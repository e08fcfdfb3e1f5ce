//! Threads of Caddy. Go ends the whole process if it cannot start a thread, as in a container at its limit of processes, and
//! keeps every thread that it has started. So Caddy is made to start them while it can.

use std::fs::{self, File};
use std::io::Write;
use std::num::NonZeroUsize;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::{Arc, RwLock};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{threads, wait};
use nix::sys::stat::Mode;
use nix::unistd::{Pid, mkfifo};

use crate::caddy::{self, ADMIN_SOCKET, RUNTIME_DIRECTORY};

/// Threads besides one for each CPU: those of the runtime, and those that wait for the disk or a pipe.
const MORE_THREADS: usize = 16;
const TIMEOUT: Duration = Duration::from_secs(5);
/// Of a thread that only waits.
const STACK_BYTES: usize = 64 << 10;

/// Makes Caddy start its threads, on a thread of its own. Without them Caddy works, but may exit at the limit.
pub fn start_in_background(caddy: Pid) {
    let start = move || start(caddy).unwrap_or_else(|error| log::debug!("Caddy's threads: {error:#}"));
    if let Err(error) = threads::start(start) {
        log::debug!("Caddy's threads: {error:#}");
    }
}

fn start(caddy: Pid) -> Result<()> {
    caddy::wait_until_up()?;
    let count = thread::available_parallelism().map_or(1, NonZeroUsize::get) + MORE_THREADS;
    // Others need as many.
    if !can_start_threads(2 * count) {
        return Ok(());
    }
    let directory = tempfile::tempdir_in(RUNTIME_DIRECTORY).context("cannot create a directory")?;
    let fifos: Vec<_> = (0..count).map(|number| directory.path().join(number.to_string())).collect();
    let mut requests = Vec::new();
    for fifo in &fifos {
        mkfifo(fifo, Mode::S_IRUSR | Mode::S_IWUSR).context("cannot create a FIFO")?;
        requests.push(request_import(fifo)?);
    }
    let tasks = format!("/proc/{caddy}/task");
    let started = wait::until(TIMEOUT, "threads", || {
        fs::read_dir(&tasks).is_ok_and(|tasks| tasks.count() >= count).then_some(())
    });
    let mut ends = Vec::new();
    for fifo in &fifos {
        // Opened for both, it does not wait for Caddy.
        let mut end = File::options().read(true).write(true).open(fifo).context("cannot open a FIFO")?;
        // Caddy warns about empty files.
        end.write_all(b"#\n").context("cannot write to a FIFO")?;
        ends.push(end);
    }
    // A request that comes this late finds no file, instead of waiting for ever.
    directory.close().context("cannot remove a directory")?;
    drop(ends);
    started
}

/// Makes Caddy adapt a Caddyfile that imports a FIFO, which blocks a thread until the FIFO is opened for writing.
fn request_import(fifo: &Path) -> Result<UnixStream> {
    let caddyfile = format!("import {}\n", fifo.display());
    let request = format!(
        "POST /adapt HTTP/1.0\r\nHost:\r\nContent-Type: text/caddyfile\r\nContent-Length: {}\r\n\r\n{caddyfile}",
        caddyfile.len()
    );
    let mut stream = UnixStream::connect(ADMIN_SOCKET).context("cannot connect to Caddy")?;
    stream.write_all(request.as_bytes()).context("cannot write to Caddy")?;
    Ok(stream)
}

/// True if this process can start so many threads; they end at once.
fn can_start_threads(count: usize) -> bool {
    let lock = Arc::new(RwLock::new(()));
    let held = lock.write();
    let start = |_| {
        let lock = Arc::clone(&lock);
        thread::Builder::new().stack_size(STACK_BYTES).spawn(move || drop(lock.read())).is_ok()
    };
    let all = (0..count).all(start);
    drop(held);
    all
}
