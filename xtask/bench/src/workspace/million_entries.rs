//! Memory for a million entries.
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use trees::Shape;

use super::options::BenchOptions;
use crate::{process_usage, tools};

const ENTRIES: usize = 1_000_000;
const DEADLINE: Duration = Duration::from_hours(2);

pub fn run(bench: &BenchOptions) -> Result<()> {
    let workspace_sync = tools::build(&bench.checkout, "workspace-sync")?;
    let tree = bench.fixture.tree("million", &Shape::many(ENTRIES * bench.percent / 100), bench.seed)?;
    let copy = bench.fixture.path("copy");
    let mut out = io::stdout().lock();
    writeln!(out, "| {} entries | time | peak memory |\n|---|---|---|", ENTRIES * bench.percent / 100)?;
    for name in ["first copy", "nothing to do"] {
        let started = Instant::now();
        let peak = peak(&mut tools::sync(&workspace_sync, &tree, &copy))?;
        let seconds = started.elapsed().as_secs_f64();
        writeln!(out, "| {name} | {seconds:.1} s | {} MB |", peak / 1_000_000)?;
    }
    bench.fixture.remove("copy")?;
    bench.fixture.remove("million")?;
    writeln!(out).context("cannot print")
}

/// Runs a program and returns its peak resident memory, in bytes.
fn peak(command: &mut Command) -> Result<u64> {
    let described = kit::cmd::describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {described}"))?;
    // The kernel keeps the maximum while the process runs, so polling misses little.
    let id = child.id();
    let mut peak = 0;
    let ended = kit::wait::until(DEADLINE, &described, || {
        peak = process_usage::peak_kilobytes(id).map_or(peak, |kilobytes| u64::from(kilobytes) * 1024);
        child.try_wait().transpose()
    })?;
    if !ended.with_context(|| format!("cannot wait for {described}"))?.success() {
        bail!("{described} failed");
    }
    Ok(peak)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_fills_memory_is_seen_to() {
        let fill = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1; :";
        assert!(peak(Command::new("bash").args(["-c", fill])).unwrap() > 30_000_000);
        assert!(peak(&mut Command::new("false")).is_err());
    }
}
