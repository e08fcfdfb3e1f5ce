//! Runs checks, each in a process of its own, all at once.
//!
//! A system call on a volume whose server does not respond cannot be interrupted, and a thread in one would keep this process
//! from exiting. A process that does not end in time is killed and left behind.

use std::io::{BufRead, BufReader, Read};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use kit::wait;
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use serde::de::DeserializeOwned;

use crate::check::Check;
use crate::finding::{CheckResult, Finding};
use crate::hung_mounts;
use crate::report::SECTIONS;

/// Time for one check; all run at once.
const LIMIT: Duration = Duration::from_secs(10);
/// Time for the end of a process after its last line.
const ENDING: Duration = Duration::from_secs(1);
/// Maximum size of the findings of a check, in bytes.
const MAX_OUTPUT: u64 = 1 << 20;

/// Runs the checks and returns their results in the same order.
pub fn run_all(checks: &[&'static Check]) -> Vec<CheckResult> {
    thread::scope(|scope| {
        let running: Vec<_> = checks.iter().map(|check| scope.spawn(|| run(check))).collect();
        let join = |(running, check): (thread::ScopedJoinHandle<'_, CheckResult>, &&Check)| {
            let lost = |_| CheckResult::new(check.name, 0, vec![failed(check, "it panicked")]);
            running.join().unwrap_or_else(lost)
        };
        running.into_iter().zip(checks).map(join).collect()
    })
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
        .args(arguments)
        .process_group(0)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot start a process for it")?;
    let (sender, receiver) = mpsc::channel();
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    // Not scoped: it is left behind with its process.
    thread::spawn(move || {
        let (mut line, mut errors) = (Vec::new(), String::new());
        let read = stdout.map(|pipe| BufReader::new(pipe.take(MAX_OUTPUT)).read_until(b'\n', &mut line));
        if line.is_empty() {
            let _ = stderr.map(|pipe| pipe.take(MAX_OUTPUT).read_to_string(&mut errors));
        }
        let _ = sender.send(read.transpose().map(|_| (line, errors)));
    });
    let Ok(output) = receiver.recv_timeout(LIMIT) else {
        kill(&child);
        return Ok(None);
    };
    let (line, errors) = output.context("cannot read its output")?;
    // One of its threads may never end.
    let _ = wait::until(ENDING, "its end", || child.try_wait().ok().flatten());
    ensure!(!line.is_empty(), "{}", errors.trim());
    serde_json::from_slice(&line).map(Some).context("its output is malformed")
}

/// Kills the process and those that it has started.
fn kill(child: &Child) {
    if let Ok(id) = i32::try_from(child.id()) {
        let _ = killpg(Pid::from_raw(id), Signal::SIGKILL);
    }
}
