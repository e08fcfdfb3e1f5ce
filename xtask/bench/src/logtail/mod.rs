//! `logtail` beside `tail -f` into `tee`: throughput, latency of a line, memory, and processor time when idle.

mod candidate;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::checkout::Checkout;

use crate::samples::Samples;
use crate::tools;
use candidate::Candidate;

/// One line of a usual length.
const LINE: &str =
    "2026-11-24 00:00:00,000 INFO a line of a program that says what it is doing at the moment, and why\n";
/// Lines that are written at once.
const BLOCK: usize = 1_000;
/// Interval between two timed lines.
const BETWEEN: Duration = Duration::from_millis(15);
/// Empty lines are the worst case: each gets a name and a time.
const EMPTY: usize = 20_000_000;

/// Throughput, delay and memory of logtail; needs no engine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Size of each log, in MB
    #[arg(long, default_value_t = 2_000)]
    megabytes: usize,
    /// Lines that are timed
    #[arg(long, default_value_t = 1_000)]
    lines: usize,
    /// Number of measurements
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Duration at rest, in seconds
    #[arg(long, default_value_t = 30)]
    rest: u32,
}

/// Measures in turns and prints a table.
pub fn run(args: &Args) -> Result<()> {
    let program = tools::build(&Checkout::find()?, "logtail")?;
    let ours = Candidate::Ours(&program);
    let mut out = io::stdout().lock();
    for round in 1..=args.runs.max(1) {
        for candidate in [ours, Candidate::Tee, Candidate::SedTee] {
            let blocks = args.megabytes * 1_000_000 / LINE.len() / BLOCK;
            let taken = take(candidate, LINE, blocks)?;
            let latency = latency(candidate, args.lines)?;
            writeln!(
                out,
                "{round}  {:<16}  {:>4.0} MB/s  {:>4.2} s of a processor per GB  {:>4.1} MB of memory  \
                 a line after {:>4.2} ms (median), {:>4.2} ms (99 of 100)",
                candidate.name(),
                taken.megabytes / taken.took.as_secs_f64(),
                taken.processor.as_secs_f64() / taken.megabytes * 1e3,
                taken.memory,
                latency.median().as_secs_f64() * 1e3,
                latency.p99().as_secs_f64() * 1e3,
            )?;
        }
    }
    let memory = take(ours, "\n", EMPTY / BLOCK)?.memory;
    writeln!(out, "   {EMPTY} empty lines: {memory:.1} MB of memory")?;
    let rest = Duration::from_secs(args.rest.into());
    let share = at_rest(ours, rest)?;
    writeln!(out, "   at rest for {rest:?}: {:.4} % of a processor", share * 100.0)?;
    Ok(())
}

/// Result of reading an existing log.
struct Taken {
    /// Of the log.
    megabytes: f64,
    took: Duration,
    processor: Duration,
    /// In MB.
    memory: f64,
}

/// Measures the reading of a log of blocks of this line; fails unless the output equals the input, byte by byte.
fn take(candidate: Candidate<'_>, line: &str, blocks: usize) -> Result<Taken> {
    let expected = format!("{}{line}", candidate.prefix()).repeat(BLOCK).into_bytes();
    let total = expected.len() * blocks;
    let (running, mut output, _) = candidate.start(line.repeat(BLOCK).as_bytes(), blocks)?;
    let started = Instant::now();
    let mut buffer = vec![0; 256 * 1024];
    let mut seen = 0;
    while seen < total {
        let got = output.read(&mut buffer).context("cannot read the output")?;
        if got == 0 {
            bail!("{} has ended", candidate.name());
        }
        let mut rest = &buffer[..got];
        while !rest.is_empty() {
            let here = &expected[seen % expected.len()..];
            let length = here.len().min(rest.len());
            if rest[..length] != here[..length] {
                bail!("{} changes what it takes", candidate.name());
            }
            seen += length;
            rest = &rest[length..];
        }
    }
    let took = started.elapsed();
    let (memory, processor) = (running.memory()?, running.processor()?);
    running.stop()?;
    if seen > total || output.read(&mut buffer).context("cannot read the output")? > 0 {
        bail!("{} shows more than it takes", candidate.name());
    }
    let thousands = u32::try_from(line.len() * BLOCK * blocks / 1_000).context("too much to count")?;
    Ok(Taken { megabytes: f64::from(thousands) / 1e3, took, processor, memory })
}

/// Measures the time from the write of a line until it can be read at the other end.
fn latency(candidate: Candidate<'_>, lines: usize) -> Result<Samples> {
    let (_running, output, log) = candidate.start(b"", 0)?;
    let mut file = OpenOptions::new().append(true).open(log)?;
    let mut output = BufReader::new(output);
    let mut measured = Vec::new();
    for _ in 0..=lines {
        let started = Instant::now();
        file.write_all(LINE.as_bytes())?;
        output.read_line(&mut String::new())?;
        measured.push(started.elapsed());
        // The pace of a program, not a wait.
        thread::sleep(BETWEEN);
    }
    // The first one includes the program's start.
    measured.remove(0);
    Samples::new(measured).context("nothing was measured")
}

/// Share of a processor that it uses while nothing is written.
fn at_rest(candidate: Candidate<'_>, time: Duration) -> Result<f64> {
    let (running, mut output, _) = candidate.start(LINE.as_bytes(), 1)?;
    // Its start is not part of it.
    BufReader::new(&mut output).read_line(&mut String::new())?;
    let before = running.processor()?;
    // The measurement itself, not a wait.
    thread::sleep(time);
    let spent = running.processor()?.saturating_sub(before);
    Ok(spent.as_secs_f64() / time.as_secs_f64())
}
