//! The memory that a million entries take.
use std::fs;
use std::io::{self, Write};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use trees::Shape;

use super::plan::Plan;
use crate::tools;

const ENTRIES: usize = 1_000_000;
const DEADLINE: Duration = Duration::from_hours(2);

pub fn run(plan: &Plan) -> Result<()> {
    let workspace_sync = tools::build(&plan.checkout, "workspace-sync")?;
    let tree = plan.fixture.tree("million", &Shape::many(ENTRIES * plan.percent / 100), plan.seed)?;
    let copy = plan.fixture.at("copy");
    let mut out = io::stdout().lock();
    writeln!(out, "| {} entries | time | peak memory |\n|---|---|---|", ENTRIES * plan.percent / 100)?;
    for name in ["first copy", "nothing to do"] {
        let started = Instant::now();
        let peak = peak(&mut tools::sync(&workspace_sync, &tree, &copy))?;
        let seconds = started.elapsed().as_secs_f64();
        writeln!(out, "| {name} | {seconds:.1} s | {} MB |", peak / 1_000_000)?;
    }
    plan.fixture.remove("copy")?;
    plan.fixture.remove("million")?;
    writeln!(out).context("cannot print")
}

/// Runs a program to its end; the most memory that it had resident, in bytes.
fn peak(command: &mut Command) -> Result<u64> {
    let described = kit::cmd::describe(command);
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .spawn()
        .with_context(|| format!("cannot run {described}"))?;
    // The kernel keeps the maximum as long as the process lives, so that looking now and then misses little of it.
    let path = format!("/proc/{}/status", child.id());
    let mut peak = 0;
    let ended = kit::wait::until(DEADLINE, &described, || {
        peak = fs::read_to_string(&path).ok().and_then(|status| high_water(&status)).unwrap_or(peak);
        child.try_wait().transpose()
    })?;
    if !ended.with_context(|| format!("cannot wait for {described}"))?.success() {
        bail!("{described} failed");
    }
    Ok(peak)
}

/// The `VmHWM:` line of proc(5)'s `status`, in bytes.
fn high_water(status: &str) -> Option<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(high_water("Name:\tx\nVmHWM:\t    1234 kB\nVmRSS:\t 5 kB\n"), Some(1234 * 1024));
        assert_eq!(high_water(""), None);
    }

    #[test]
    fn a_program_that_fills_memory_is_seen_to() {
        let fill = "x=$(head -c 30000000 /dev/zero | tr '\\0' x); sleep 1; :";
        assert!(peak(Command::new("bash").args(["-c", fill])).unwrap() > 30_000_000);
        assert!(peak(&mut Command::new("false")).is_err());
    }
}
