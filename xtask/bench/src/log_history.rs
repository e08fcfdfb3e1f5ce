//! Large logs: first screen, jump to a time and search, in the library and at the prompt, beside GNU `tail` and `grep`.
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use xtask::cargo::cargo;
use xtask::checkout::Checkout;
use xtask::step;

use crate::tools;

/// Time of the first line of the logs, in seconds since 1970.
const BEGIN: u64 = 1_795_478_400;
/// Bytes of a log in one second of its time.
const SECOND: u64 = 1 << 20;

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
    step::run(
        "build measure",
        cargo(&checkout).args([
            "build",
            "--release",
            "--locked",
            "--package",
            "log-history",
            "--example",
            "measure",
        ]),
    )?;
    let measure = checkout.root().join("target/release/examples/measure");
    let root = tempfile::tempdir()?;
    let root = root.path();
    let mut out = io::stdout().lock();
    for (name, gigabytes) in
        [("logtail", args.gigabytes), ("large", args.gigabytes), ("searched", args.search)]
    {
        step::run(name, Command::new(&measure).arg("write").arg(root).args([name, &gigabytes.to_string()]))?;
        let path = path(root, name);
        for round in 1..=args.runs.max(1) {
            uncache(&path)?;
            let cold = read(&measure, root, name)?;
            let warm = if gigabytes > 2 {
                String::new()
            } else {
                format!("  again: {}", read(&measure, root, name)?)
            };
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
fn read(measure: &Path, root: &Path, name: &str) -> Result<String> {
    let output = Command::new(measure).arg("read").arg(root).arg(name).stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let [screen, jump, first, total, hits] = text.split_whitespace().collect::<Vec<_>>()[..] else {
        anyhow::bail!("measure has printed {text:?}");
    };
    Ok(format!(
        "screen {screen} ms, jump {jump} ms, search {total} ms, its first line {first} ms ({hits} lines)"
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
