//! Link files of $WORKSPACE/storage into the directories of applications
//!
//! `mappings.sh` maps directories of the storage to directories of applications. A scan compares the
//! wanted links with the present ones and corrects them; events only show it where to look first. So a second scan
//! changes nothing, and a lost event is corrected by the next scan of everything.
//!
//! * Every file below a mapped directory gets a link of its name; directories are mirrored as directories, so that
//!   applications can write beside the links. A link in the storage is linked like a file, and never entered.
//! * Nested keys all apply. If two files want the same name, the longer key wins, then the directory that sorts first.
//! * Only our own links are replaced or removed. They are in a ledger, and recognised by their text.
//! * Hidden files and unfinished downloads are linked once they are renamed, or their `.aria2` file is gone.
//! * Files in `/opt/storage` appear in the storage in the same way; a user's file of that name wins.
//!
//! ```text
//! /opt/storage ──► $WORKSPACE/storage ──► directories of applications
//!       ship                         link          (monitor: two tree_linkers)
//!
//! directory_scan (names) ─► plan (steps) ─► directory_visit (recorded in the ledger, then made by execute)
//! ```

mod active_mapping;
mod cli;
mod directory_scan;
mod directory_visit;
mod evaluate;
mod event_loop;
mod execute;
mod explain;
mod findings;
mod known_storage;
mod ledger;
mod mapping;
mod mapping_check;
mod monitor;
mod pending_events;
mod plan;
mod rescan_interval;
mod routes;
mod safe_resolve;
mod status;
mod tree_linker;
mod watcher;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use kit::lock::Lock;
use kit::quote::escape_control;
use kit::{Env, Exit, HintExt, Outcome};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use cli::command;
pub use mapping_check::{MappingCheck, check_mapping};
pub use status::{PATH as STATUS_PATH, Status};

use cli::{Cli, Paths, Task};
use findings::{LISTED, ScanCounts};
use monitor::Monitor;
use status::milliseconds_since_boot;

/// Time to wait for another process; a scan of everything takes seconds.
const TIMEOUT: Duration = Duration::from_mins(5);

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    cli.verbosity.apply();
    // New directories have the very mode of the one that holds them; files are created with a mode of their own.
    nix::sys::stat::umask(nix::sys::stat::Mode::empty());
    let paths = Paths::find(&Env::from_process(), &cli);
    match cli.task.unwrap_or(Task::Run) {
        Task::Run => {
            let Turn::Acquired(lock) = acquire_or_find_running(&paths)? else {
                let error = Err(anyhow!("another storage-monitor is running"));
                return error.hint(|| "run: storage-monitor status".to_owned());
            };
            // The kernel releases the lock after the last thread; one may still be running when `run` returns.
            std::mem::forget(lock);
            // The status of an earlier run is outdated, and our process may have the same id.
            let _ = std::fs::remove_file(&paths.status);
            event_loop::run(Monitor::load(paths)?)?;
            Ok(Exit::Done)
        }
        Task::Status { json } => status(&paths, json),
        Task::Once { dry_run: false, json } => once(paths, json),
        Task::Once { dry_run: true, json } | Task::Plan { json } => plan(paths, json),
        Task::Explain { path, json } => explain::explain(Monitor::load(paths)?, &path, json),
    }
}

/// The process that changes links.
enum Turn {
    /// This one, as long as it holds the lock.
    Acquired(Lock),
    /// The running monitor.
    Running(Status),
}

/// Waits until a running `once` has finished, or until a monitor has made its first scan and accepts requests.
fn acquire_or_find_running(paths: &Paths) -> Result<Turn> {
    status::make_directories(&paths.state)?;
    let lock = Lock::open(&paths.lock())?;
    let running = kit::wait::until(TIMEOUT, "the other storage-monitor", || {
        if lock.acquire(Duration::ZERO).is_ok() {
            return Some(None);
        }
        Status::read(&paths.status).ok().flatten().filter(Status::is_running).map(Some)
    })?;
    Ok(running.map_or(Turn::Acquired(lock), Turn::Running))
}

fn status(paths: &Paths, json: bool) -> Outcome {
    let known = Status::read(&paths.status)?;
    let running = known.as_ref().is_some_and(Status::is_running);
    let mut out = io::stdout().lock();
    match &known {
        Some(status) if json => writeln!(out, "{}", serde_json::to_string(status)?)?,
        Some(status) => {
            writeln!(out, "{}", status.summary())?;
            for message in status.messages() {
                writeln!(out, "{}", escape_control(&message))?;
            }
        }
        None => {}
    }
    if running {
        return Ok(Exit::Done);
    }
    Err(anyhow!("the monitor is not running")).hint(|| "run: supervisorctl start storagemonitor".to_owned())
}

fn once(paths: Paths, json: bool) -> Outcome {
    let _lock = match acquire_or_find_running(&paths)? {
        Turn::Acquired(lock) => lock,
        Turn::Running(status) => return request_scan(&paths, &status),
    };
    let mut monitor = Monitor::load(paths)?;
    monitor.read_mapping(false);
    let counts = monitor.full_scan(None);
    let ScanCounts { linked, removed, .. } = counts;
    let mut out = io::stdout().lock();
    if json {
        writeln!(out, "{}", serde_json::json!({ "linked": linked, "removed": removed }))?;
    } else {
        writeln!(out, "linked {linked}, removed {removed}")?;
    }
    let listed = monitor.conflicts().take(LISTED);
    let listed = listed.map(|(target, conflict)| log::warn!("{}", conflict.message(target))).count();
    if let Some(omitted) = status::omitted_message(monitor.mapped.findings.count(), listed) {
        log::warn!("{omitted}");
    }
    Ok(log_problems(&monitor))
}

/// Requests a scan of everything from the running monitor, and waits for its end.
fn request_scan(paths: &Paths, status: &Status) -> Outcome {
    let asked = milliseconds_since_boot();
    // A scan that began in this millisecond may have begun before the request, so request one in a later millisecond.
    kit::wait::until(TIMEOUT, "the clock", || (milliseconds_since_boot() > asked).then_some(()))?;
    let read = || Status::read(&paths.status).ok().flatten().filter(Status::is_running);
    let process = Pid::from_raw(i32::try_from(status.pid)?);
    kill(process, Signal::SIGHUP).context("cannot signal the running monitor")?;
    let done = || read().filter(|status| status.scan_began > asked);
    let status = kit::wait::until(TIMEOUT, "the running monitor", done)?;
    if !status.problems.is_empty() {
        bail!("{}", status.problems.join("; "));
    }
    Ok(Exit::Done)
}

fn plan(paths: Paths, json: bool) -> Outcome {
    let mut monitor = Monitor::load(paths)?;
    monitor.read_mapping(false);
    let mut out = io::stdout().lock();
    let mut written = Ok(());
    monitor.full_scan(Some(&mut |step| {
        if written.is_ok() {
            written = if json { writeln!(out, "{}", step.json()) } else { writeln!(out, "{step}") };
        }
    }));
    written?;
    Ok(log_problems(&monitor))
}

fn log_problems(monitor: &Monitor) -> Exit {
    // A mistake in the mapping was logged when it was found.
    let mistake = monitor.mapping_error().map(findings::abbreviate);
    let others = monitor.problems().filter(|problem| Some(problem) != mistake.as_ref());
    let logged = others.take(LISTED).map(|problem| log::warn!("{problem}")).count();
    if logged == 0 && mistake.is_none() { Exit::Done } else { Exit::No }
}

#[cfg(test)]
mod tests {
    mod property;
}
