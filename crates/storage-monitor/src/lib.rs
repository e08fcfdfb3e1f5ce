//! Files in `$WORKSPACE/storage` appear where each application looks for them, as symbolic links.
//!
//! `mappings.sh` says which directory of the storage leads into which directories of applications. The program compares
//! what should be linked with what is, and makes it so; events only tell it where to look first. So a second pass changes
//! nothing, and a lost event is made good by the next look at everything.
//!
//! * Every file below a mapped directory gets a link of its name; directories are mirrored as directories, so that
//!   applications can write beside the links. A link in the storage is linked like a file, and never gone into.
//! * Where keys are nested, all of them apply. Of two files that want one name, that of the longer key gets it, then that
//!   of the directory that sorts first.
//! * What is not ours is never replaced or removed. Our links are known by a ledger, and recognised by their text.
//! * Hidden names and those of unfinished downloads wait until they are renamed.
//! * Files in `/opt/storage` appear in the storage in the same way; a user's file of that name wins.
//!
//! ```text
//! /opt/storage ──► $WORKSPACE/storage ──► directories of applications
//!       ship                         link          (engine.rs: one stage each)
//!
//! listing (what is offered) ─► there (what has these names) ─► merge (what is wanted) ─► plan (steps) ─► carry_out
//! ```

mod apply;
mod carry_out;
mod catch_up;
mod changes;
mod cli;
mod confine;
mod draft;
mod engine;
mod evaluate;
mod explain;
mod findings;
mod follow;
mod heard;
mod held;
mod in_force;
mod known_storage;
mod ledger;
mod listing;
mod make_directory;
mod mapping;
mod memory;
mod merge;
mod monitor;
mod names;
mod pace;
mod pass;
mod places;
mod plan;
#[cfg(test)]
mod property;
mod report;
mod routes;
mod shown;
mod status;
mod targets;
mod temporary;
mod there;
mod to_watch;
mod visit;
mod watch;
mod way;

use std::io::{self, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow, bail};
use clap::Parser;
use kit::lock::Lock;
use kit::logging::escape_control;
use kit::{Env, Exit, HintExt, Outcome};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

pub use cli::command;
pub use status::{PATH as STATUS_PATH, Status};

use cli::{Cli, Task};
use monitor::Monitor;
use places::Places;

/// A look at everything takes seconds at most.
const PATIENCE: Duration = Duration::from_mins(5);

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let places = Places::find(&Env::from_process(), &cli);
    match cli.task.unwrap_or(Task::Run) {
        Task::Run => {
            let Turn::Ours(_lock) = turn(&places)? else {
                let error = Err(anyhow!("another storage-monitor is running"));
                return error.hint(|| "storage-monitor status".to_owned());
            };
            // What an earlier run has told is not so any more, and our process may have its number.
            let _ = std::fs::remove_file(&places.status);
            follow::follow(Monitor::load(places)?)?;
            Ok(Exit::Done)
        }
        Task::Status { json } => status(&places, json),
        Task::Once { dry_run: false } => once(places),
        Task::Once { dry_run: true } | Task::Plan => plan(places),
        Task::Explain { path } => explain::explain(Monitor::load(places)?, &path),
        Task::ConfinedMapping { file, workspace } => confine::run(&file, &workspace),
    }
}

/// Who may change links.
enum Turn {
    /// We, as long as we hold this.
    Ours(Lock),
    /// The running monitor.
    Theirs(Status),
}

/// Waits for a `once` that is at work, which ends, and for the first look of a monitor, after which it can be asked.
fn turn(places: &Places) -> Result<Turn> {
    std::fs::create_dir_all(&places.state)
        .with_context(|| format!("cannot make {}", places.state.display()))?;
    let lock = Lock::open(&places.lock())?;
    let theirs = kit::wait::until(PATIENCE, "the other storage-monitor", || {
        if lock.acquire(Duration::ZERO).is_ok() {
            return Some(None);
        }
        Status::read(&places.status).ok().flatten().filter(Status::is_running).map(Some)
    })?;
    Ok(theirs.map_or(Turn::Ours(lock), Turn::Theirs))
}

fn status(places: &Places, json: bool) -> Outcome {
    let known = Status::read(&places.status)?;
    let running = known.as_ref().is_some_and(Status::is_running);
    let mut out = io::stdout().lock();
    match &known {
        Some(status) if json => writeln!(out, "{}", serde_json::to_string(status)?)?,
        Some(status) => {
            writeln!(out, "{}", status.summary())?;
            for complaint in status.complaints() {
                writeln!(out, "{}", escape_control(&complaint))?;
            }
        }
        None => {}
    }
    if running {
        return Ok(Exit::Done);
    }
    Err(anyhow!("the monitor is not running")).hint(|| "supervisorctl start storagemonitor".to_owned())
}

fn once(places: Places) -> Outcome {
    let _lock = match turn(&places)? {
        Turn::Ours(lock) => lock,
        Turn::Theirs(status) => return ask(&places, &status),
    };
    let mut monitor = Monitor::load(places)?;
    monitor.read_mapping(false);
    let tally = monitor.all(None);
    writeln!(io::stdout(), "linked {}, removed {}", tally.linked, tally.removed)?;
    let listed = monitor.conflicts().take(status::LISTED);
    let told = listed.map(|(place, conflict)| log::warn!("{}", report::sentence(place, conflict))).count();
    if let Some(more) = status::more(monitor.mapped.findings.count(), told) {
        log::warn!("{more}");
    }
    Ok(tell_problems(&monitor))
}

/// Asks the running monitor to look at everything, and waits until it has.
fn ask(places: &Places, status: &Status) -> Outcome {
    let asked = monitor::clock()?;
    // A look that began in this millisecond may have begun before; one that is asked for in a later one did not.
    kit::wait::until(PATIENCE, "the clock", || monitor::clock().ok().filter(|now| *now > asked))?;
    let read = || Status::read(&places.status).ok().flatten().filter(Status::is_running);
    let process = Pid::from_raw(i32::try_from(status.pid)?);
    kill(process, Signal::SIGHUP).context("cannot ask the running monitor")?;
    let done = || read().filter(|status| status.scan_began > asked);
    let status = kit::wait::until(PATIENCE, "the running monitor", done)?;
    if !status.problems.is_empty() {
        bail!("{}", status.problems.join("; "));
    }
    Ok(Exit::Done)
}

fn plan(places: Places) -> Outcome {
    let mut monitor = Monitor::load(places)?;
    monitor.read_mapping(false);
    let mut out = io::stdout().lock();
    let mut written = Ok(());
    monitor.all(Some(&mut |step| {
        if written.is_ok() {
            written = writeln!(out, "{step}");
        }
    }));
    written?;
    Ok(tell_problems(&monitor))
}

fn tell_problems(monitor: &Monitor) -> Exit {
    // A mistake in the mapping was told when it was found.
    let mistake = monitor.mistake().map(report::brief);
    let others = monitor.problems().filter(|problem| Some(problem) != mistake.as_ref());
    let told = others.take(status::LISTED).map(|problem| log::warn!("{problem}")).count();
    if told == 0 && mistake.is_none() { Exit::Done } else { Exit::No }
}
