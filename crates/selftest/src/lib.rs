//! Check a running container and name what to do about each fault.
//!
//! Each check looks at one part of the container and returns findings: what it saw, a verdict, and a remedy, which is a
//! command where there is one. Checks change nothing, start no other program's work, and use no network beyond the
//! container's own ports. Each runs in a process of its own, which is killed after 10 seconds: a volume that does not respond
//! stops the checks that use it and not the others, and is named. Nothing touches a path below `$WORKSPACE/remote`.
//!
//! Root sees everything. The system user, who may become root, gets the checks that need no root, and the others skipped.

mod check;
mod checks;
mod cli;
mod context;
mod finding;
mod hung_mounts;
mod output;
mod report;
mod runner;
mod shortage;

use std::io::{self, Write};

use anyhow::Context as _;
use clap::Parser;
use kit::atomic::{self, WriteOptions};
use kit::{Exit, HintExt, Outcome, UsageError};

pub use cli::command;
pub use finding::{CheckResult, Finding, Verdict};
pub use output::Summary;

use check::{CHECKS, Check};
use cli::Cli;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if let Some(name) = &cli.run_check {
        return run_check(name);
    }
    if let Some(name) = &cli.section {
        let text = report::section(name, &context::Context::load()?)?;
        return print_line(&text);
    }
    if cli.list {
        for Check { name, about, .. } in CHECKS {
            writeln!(io::stdout(), "{name:<14}{about}")?;
        }
        return Ok(Exit::Done);
    }
    let summary = Summary::new(runner::run_all(&selected(&cli.checks)?));
    if let Some(file) = &cli.report {
        return report::write(file.as_deref(), &summary);
    }
    let mut out = io::stdout().lock();
    match &cli.junit {
        Some(None) => out.write_all(output::junit(&summary).as_bytes())?,
        Some(Some(file)) => {
            atomic::write(file, output::junit(&summary).as_bytes(), WriteOptions::volatile(0o644))?;
            out.write_all(output::text(&summary).as_bytes())?;
        }
        None if cli.json => writeln!(out, "{}", serde_json::to_string(&summary)?)?,
        None => out.write_all(output::text(&summary).as_bytes())?,
    }
    Ok(if summary.ok { Exit::Done } else { Exit::No })
}

/// Returns the checks of these names, or all.
fn selected(names: &[String]) -> anyhow::Result<Vec<&'static Check>> {
    if names.is_empty() {
        return Ok(CHECKS.iter().collect());
    }
    let find = |name: &String| check::find(name).ok_or_else(|| UsageError(format!("no check {name:?}")));
    let found: Result<Vec<_>, _> = names.iter().map(find).collect();
    found.hint(|| "to list the checks, run: selftest --list".to_owned())
}

/// Runs one check in this process, and prints its findings as one line.
fn run_check(name: &str) -> Outcome {
    let check = check::find(name).with_context(|| format!("no check {name:?}"))?;
    print_line(&check.findings(&context::Context::load()?)?)
}

/// Prints a result for the process that has started this one.
fn print_line(result: &impl serde::Serialize) -> Outcome {
    let mut line = serde_json::to_vec(result)?;
    line.push(b'\n');
    io::stdout().write_all(&line)?;
    Ok(Exit::Done)
}
