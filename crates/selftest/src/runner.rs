//! Runs checks, each in a process of its own, several at once.
//!
//! A system call on a volume whose server does not respond cannot be interrupted, and a thread in one would keep this process
//! from exiting. A process that does not end in time is killed and left behind.

use std::io::{self, Read};
use std::os::fd::AsFd;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::{threads, wait};
use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::check::Check;
use crate::finding::{CheckResult, Finding};
use crate::report::SECTIONS;
use crate::{hung_mounts, shortage};

/// Checks at once. More would need more processes than a small container may have.
const AT_ONCE: usize = 8;
/// Time for one check.
const LIMIT: Duration = Duration::from_secs(10);
/// Time for the end of a process after its last line.
const ENDING: Duration = Duration::from_secs(1);
/// Maximum size of the findings of a check, in bytes.
const MAX_OUTPUT: usize = 1 << 20;

/// Runs the checks and returns their results in the same order. A check that lacked processes or files is repeated without
/// the others.
pub fn run_all(checks: &[&'static Check]) -> Vec<CheckResult> {
    let results = threads::map(checks.to_vec(), AT_ONCE, run);
    let repeat = |(check, result): (&&'static Check, CheckResult)| match shortage::of(&result) {
        Some(_) => shortage::explain(run(check)),
        None => result,
    };
    checks.iter().zip(results).map(repeat).collect()
}

fn run(check: &'static Check) -> CheckResult {
    let start = Instant::now();
    let findings = findings(check).unwrap_or_else(|error| vec![failed(check, &format!("{error:#}"))]);
    let milliseconds = u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX);
    CheckResult::new(check.name, milliseconds, findings)
}

fn failed(check: &Check, why: &str) -> Finding {
    Finding::fail(format!("the check itself failed: {why}"), format!("selftest {}", check.name))
}

fn findings(check: &'static Check) -> Result<Vec<Finding>> {
    let printed = ask(&["--run-check", check.name])?;
    Ok(printed.unwrap_or_else(|| vec![timed_out()]))
}

/// Returns the finding about a check that did not end in time.
fn timed_out() -> Finding {
    let cause = hung_mounts::finding();
    let mut finding = cause.unwrap_or_else(|| Finding::fail("the container is overloaded", "top"));
    finding.seen = format!("it did not end in {} seconds: {}", LIMIT.as_secs(), finding.seen);
    finding
}

/// Returns the sections of the report with their names.
pub fn sections() -> Vec<(&'static str, String)> {
    let section = |name: &'static str| {
        let text = match ask(&["--section", name]) {
            Ok(Some(text)) => text,
            Ok(None) => format!("it did not end in {} seconds", LIMIT.as_secs()),
            Err(error) => format!("{error:#}"),
        };
        (name, text)
    };
    SECTIONS.into_iter().map(section).collect()
}

/// Runs this program in a process of its own, and returns what it prints as one line of JSON; nothing if it does not end.
fn ask<T: DeserializeOwned>(arguments: &[&str]) -> Result<Option<T>> {
    let mut command = Command::new("/proc/self/exe");
    let mut child = command
        .arg0("selftest")
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process for it")?;
    let deadline = Instant::now() + LIMIT;
    let is_line = |text: &[u8]| text.ends_with(b"\n");
    let printed = child.stdout.take().map_or(Ok(Some(Vec::new())), |pipe| read(pipe, deadline, is_line));
    let Some(line) = printed.context("cannot read its output")? else {
        kill(&child);
        return Ok(None);
    };
    let errors = match child.stderr.take().filter(|_| line.is_empty()) {
        Some(pipe) => read(pipe, deadline, |_| false).ok().flatten().unwrap_or_default(),
        None => Vec::new(),
    };
    // One of its threads may never end.
    let _ = wait::until(ENDING, "its end", || child.try_wait().ok().flatten());
    let errors = String::from_utf8_lossy(&errors);
    ensure!(!line.is_empty(), "{}", errors.split("\nhint: ").next().unwrap_or_default().trim());
    serde_json::from_slice(&line).map(Some).context("its output is malformed")
}

/// Reads until `is_complete`, or to the end; `None` at the deadline.
fn read(
    mut pipe: impl Read + AsFd,
    deadline: Instant,
    is_complete: impl Fn(&[u8]) -> bool,
) -> io::Result<Option<Vec<u8>>> {
    let (mut text, mut buffer) = (Vec::new(), [0; 8 << 10]);
    while !is_complete(&text) && text.len() < MAX_OUTPUT {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::ZERO);
        match poll(&mut [PollFd::new(pipe.as_fd(), PollFlags::POLLIN)], timeout) {
            Ok(0) => return Ok(None),
            Err(Errno::EINTR) => {}
            Err(error) => return Err(error.into()),
            Ok(_) => match pipe.read(&mut buffer)? {
                0 => break,
                count => text.extend_from_slice(buffer.get(..count).unwrap_or_default()),
            },
        }
    }
    Ok(Some(text))
}

/// Kills the process and those that it has started.
fn kill(child: &Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}
