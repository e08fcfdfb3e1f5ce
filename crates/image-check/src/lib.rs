//! Check an image made from the base image, as the last step of its Dockerfile
//!
//! `RUN image-check` reads every file of the image that a container will read, with the code that reads it there, so that both
//! never disagree:
//!
//! | check | reads with |
//! |---|---|
//! | start | supervisord's own parser, `init` |
//! | programs | supervisord's own parser, `boot` |
//! | services | `service-run`, `ports` |
//! | storage | `storage-monitor` |
//! | caddy | `caddy-run --check` |
//! | hooks | `boot` |
//! | trees | `workspace-sync` |
//! | permissions | `fix-perms` |
//! | privileges, secrets, caches | one walk over all files, compared with the record of the base image |
//! | name, variables | `init` |
//!
//! Each finding has a place, an effect and a fix. A failure makes the exit code 1, and so ends the build; a warning does not.
//!
//! The record is written by the base image's build (`image-check --record`).

mod baseline;
mod caddy;
mod cli;
mod executable;
mod files;
mod finding;
mod hooks;
mod mappings;
mod permissions;
mod programs;
mod services;
mod supervisor_parser;
mod supervisord;
mod trees;
mod unread_files;
mod variables;

use std::io::{self, Write};
use std::path::Path;

use anyhow::{Result, anyhow};
use clap::Parser;
use kit::{Env, Exit, HintExt, Outcome};
use serde::Serialize;

use baseline::Baseline;
use cli::Cli;
pub use cli::command;
use files::FileScan;
pub use finding::{Finding, Verdict};

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let env = Env::from_process();
    if sync_tree::is_running_container() {
        return Err(anyhow!("this container is running: its keys and logins are its own, not the image's"))
            .hint(|| "check the image: docker run --rm IMAGE image-check".to_owned());
    }
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow!("only root can read all files of the image"))
            .hint(|| "add the line: USER root".to_owned());
    }
    if cli.record {
        Baseline::record(&cli.baseline, &env, FileScan::of(Path::new("/"))?)?;
        return Ok(Exit::Done);
    }
    let report = check(&cli, &env);
    report.print(cli.json)?;
    Ok(if report.failed == 0 { Exit::Done } else { Exit::No })
}

/// Result of all checks; printed with `--json`.
#[derive(Debug, Serialize)]
struct Report {
    /// Number of findings that fail the check.
    failed: usize,
    /// Number of warnings.
    warned: usize,
    /// Number of programs that were checked.
    programs: usize,
    /// Number of web services that were checked.
    services: usize,
    /// Number of storage mappings that were checked.
    mappings: usize,
    /// Number of files that were checked.
    files: u64,
    /// The findings.
    findings: Vec<Finding>,
}

fn check(cli: &Cli, env: &Env) -> Report {
    let mut findings = supervisord::check_programs(env);
    let (found, commands) =
        programs::check(env).unwrap_or_else(|error| (vec![unknown("programs", &error)], Vec::new()));
    findings.extend(found);
    let (found, services) =
        services::check(&commands, &|program| executable::find(program, env).err(), &executable::is_private);
    findings.extend(found);
    let (found, mappings) = mappings::check(env);
    findings.extend(found);
    findings.extend(caddy::check().unwrap_or_else(|error| vec![unknown("caddy", &error)]));
    findings.extend(hooks::check().unwrap_or_else(|error| vec![unknown("hooks", &error)]));
    findings.extend(trees::check(env));
    findings.extend(permissions::check().unwrap_or_else(|error| vec![unknown("permissions", &error)]));
    let base = match Baseline::read(&cli.baseline) {
        Ok(Some(base)) => base,
        read => {
            let error = read.err().unwrap_or_else(|| anyhow!("{} does not exist", cli.baseline.display()));
            findings.push(unknown("files", &error));
            Baseline::default()
        }
    };
    findings.extend(variables::check(env, &base.slug));
    let files = match FileScan::of(Path::new("/")) {
        Ok(scan) => {
            findings.extend(scan.findings(&base));
            scan.entries
        }
        Err(error) => {
            findings.push(unknown("files", &error));
            0
        }
    };
    // Failures first.
    findings.sort_by_key(|finding| finding.verdict);
    let failed = findings.iter().filter(|finding| finding.verdict == Verdict::Fail).count();
    let warned = findings.len() - failed;
    Report { failed, warned, programs: commands.len(), services, mappings, files, findings }
}

/// Returns the fault of a check that could not be made.
fn unknown(check: &'static str, error: &anyhow::Error) -> Finding {
    let effect = "its faults are unknown";
    Finding::fault(check, "image-check", format!("cannot check: {error:#}"), effect, "correct the cause")
}

impl Report {
    fn print(&self, json: bool) -> Result<()> {
        let mut out = io::stdout().lock();
        if json {
            writeln!(out, "{}", serde_json::to_string(self)?)?;
            return Ok(());
        }
        for finding in &self.findings {
            writeln!(out, "{finding}")?;
        }
        let Self { failed, warned, programs, services, mappings, files, .. } = self;
        writeln!(
            out,
            "{failed} failed, {warned} warned; checked: {}, {}, {}, {}",
            count(*programs, "program"),
            count(*services, "service"),
            count(*mappings, "mapping"),
            count(usize::try_from(*files)?, "file"),
        )?;
        Ok(())
    }
}

fn count(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
