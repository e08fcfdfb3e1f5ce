//! Large logs: first screen, jump to a time and search, in the library and at the prompt, beside GNU `tail` and `grep`.

mod large_log;

use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use large_log::{BEGIN, SECOND};
use xtask::checkout::Checkout;
use xtask::step;

use crate::tools;

/// First screen, jumps to a time and search in large logs; needs no engine, and space for the largest log twice
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Size of the logs, in GB
    #[arg(long, default_value_t = 10)]
    gigabytes: u64,
    /// Size of the log that is searched, in GB
    #[arg(long, default_value_t = 1)]
    search: u64,
    /// Number of measurements
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Measures in turns and prints a table.
pub fn run(args: &Args) -> Result<()> {
    let checkout = Checkout::find()?;
    let logtail = tools::build(&checkout, "logtail")?;
    let root = tempfile::tempdir()?;
    let root = root.path();
    let mut out = io::stdout().lock();
    for (name, gigabytes) in
        [("logtail", args.gigabytes), ("large", args.gigabytes), ("searched", args.search)]
    {
        large_log::write(root, name, gigabytes)?;
        let path = path(root, name);
        for round in 1..=args.runs.max(1) {
            uncache(&path)?;
            let cold = read(root, name)?;
            let warm = if gigabytes > 2 { String::new() } else { format!("  again: {}", read(root, name)?) };
            writeln!(out, "{round}  {gigabytes} GB {name}: not cached: {cold}{warm}")?;
        }
        if name == "searched" {
            compare(&mut out, &path, args.runs)?;
        } else {
            at_the_prompt(&mut out, &logtail, root, name, &path, args.runs)?;
            fs::remove_file(&path)?;
        }
    }
    Ok(())
}

fn path(root: &Path, name: &str) -> PathBuf {
    root.join(if name == "logtail" { "var/log" } else { "var/log/supervisor" }).join(format!("{name}.log"))
}

/// Drops a file from the page cache.
fn uncache(path: &Path) -> Result<()> {
    let mut dd = Command::new("dd");
    dd.arg(format!("if={}", path.display())).args(["iflag=nocache", "count=0", "status=none"]);
    step::run("sync", &mut Command::new("sync"))?;
    step::run("dd", &mut dd)
}

/// Returns the library's times as a sentence.
fn read(root: &Path, name: &str) -> Result<String> {
    let times = large_log::read(root, name)?;
    Ok(format!(
        "screen {:.2} ms, jump {:.2} ms, search {:.2} ms, its first line {:.2} ms ({} lines)",
        milliseconds(times.first_screen),
        milliseconds(times.jump),
        milliseconds(times.search),
        milliseconds(times.first_hit),
        times.hits
    ))
}

/// `logtail` at the prompt, beside `tail`.
fn at_the_prompt(
    out: &mut impl Write,
    logtail: &Path,
    root: &Path,
    name: &str,
    path: &Path,
    runs: usize,
) -> Result<()> {
    let end = BEGIN + fs::metadata(path)?.len() / SECOND;
    let since = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs().saturating_sub(end - 10);
    let since = format!("{since}s");
    let program = |args: &[&str]| {
        let mut command = Command::new(logtail);
        command.arg("--root").arg(root).args(args).arg("--no-follow");
        if name != "logtail" {
            command.arg(name);
        }
        command
    };
    for round in 1..=runs.max(1) {
        uncache(path)?;
        let last = time(&mut program(&["-n", "1000"]))?;
        uncache(path)?;
        let since = time(&mut program(&["--since", &since]))?;
        uncache(path)?;
        let tail = time(Command::new("tail").args(["-n", "1000"]).arg(path))?;
        writeln!(
            out,
            "{round}  {name} at the prompt: -n 1000 {:.0} ms, --since (10 MB) {:.0} ms; tail -n 1000 {:.0} ms",
            milliseconds(last),
            milliseconds(since),
            milliseconds(tail)
        )?;
    }
    Ok(())
}

/// GNU grep, whose search also ends with the last line.
fn compare(out: &mut impl Write, path: &Path, runs: usize) -> Result<()> {
    for round in 1..=runs.max(1) {
        let fixed = time(Command::new("grep").args(["-F", "needle"]).arg(path).env("LC_ALL", "C"))?;
        let usual = time(Command::new("grep").arg("needle").arg(path).env("LC_ALL", "C.UTF-8"))?;
        let (fixed, usual) = (milliseconds(fixed), milliseconds(usual));
        writeln!(out, "{round}  grep: {usual:.0} ms; with LC_ALL=C and -F: {fixed:.0} ms")?;
    }
    Ok(())
}

fn time(command: &mut Command) -> Result<Duration> {
    let started = Instant::now();
    // grep is faster where it only has to find out if there is a line, as with /dev/null.
    let output = command.stderr(Stdio::inherit()).output().context("cannot run it")?;
    anyhow::ensure!(!output.stdout.is_empty(), "{command:?} has printed nothing");
    Ok(started.elapsed())
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}
