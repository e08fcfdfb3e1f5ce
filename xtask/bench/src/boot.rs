//! Time from `docker run` to the login page, and memory and size of a container.
use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::engine::Engine;
use xtask::{health, image};

use crate::samples::Samples;

const NAME: &str = "leonardo-bench-boot";
const DEADLINE: Duration = Duration::from_mins(2);
/// An address of the documentation network (RFC 5737): nothing answers there.
const DEAD_RESOLVER: &str = "192.0.2.1";

/// Time from `docker run` to the login page; memory, processes and image size
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of boots
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// Measure this variant instead of the machine's default
    #[arg(long)]
    variant: Option<String>,
}

/// Measures and prints a table.
pub fn run(args: &Args, engine: &Engine) -> Result<()> {
    let built = image::build(engine, args.variant.as_deref())?;
    let measured = measure(args.runs, engine, &built.image);
    remove(engine)?;
    measured
}

fn measure(runs: usize, engine: &Engine, image: &str) -> Result<()> {
    let runs = runs.max(1);
    let (mut baseline, mut page, mut dead_resolver) = (Vec::new(), Vec::new(), Vec::new());
    // In turns, so that a slow minute of the machine affects all three.
    for _ in 0..runs {
        baseline.push(engine_alone(engine, image)?);
        page.push(boot(engine, image, &[])?);
        dead_resolver.push(boot(engine, image, &["--dns", DEAD_RESOLVER])?);
    }
    let samples = |measured| Samples::new(measured).context("nothing was measured");
    let (baseline, page, dead_resolver) = (samples(baseline)?, samples(page)?, samples(dead_resolver)?);
    let ratio = page.median().as_secs_f64() / baseline.median().as_secs_f64();
    let mut out = io::stdout().lock();
    writeln!(out, "docker run IMAGE sleep (the engine alone)   {baseline}")?;
    writeln!(out, "docker run IMAGE until the login page       {page}  {ratio:.2} x the engine alone")?;
    writeln!(out, "  the same with a resolver that is dead     {dead_resolver}")?;
    let (count, bytes) = memory(engine)?;
    writeln!(out, "memory (PSS) of {count} processes                 {} MB", bytes / 1_000_000)?;
    let (own, base) = sizes(engine, image)?;
    writeln!(
        out,
        "image beyond its base                       {} MB of {} MB",
        (own - base) / 1_000_000,
        own / 1_000_000
    )?;
    Ok(())
}

/// Time that the engine takes to start any container of this image.
fn engine_alone(engine: &Engine, image: &str) -> Result<Duration> {
    remove(engine)?;
    let started = Instant::now();
    kit::cmd::run(engine.docker().args([
        "run",
        "--detach",
        "--name",
        NAME,
        "--publish",
        "127.0.0.1::1111",
        image,
        "sleep",
        "60",
    ]))?;
    Ok(started.elapsed())
}

/// Time from `docker run` to the first 200 of the login page.
fn boot(engine: &Engine, image: &str, options: &[&str]) -> Result<Duration> {
    remove(engine)?;
    until_login_page(engine, NAME, image, options)
}

/// Runs a container, waits for the first 200 of its login page, and returns the time.
pub fn until_login_page(engine: &Engine, name: &str, image: &str, options: &[&str]) -> Result<Duration> {
    // Chosen beforehand, so that asking docker for it is not part of the measurement.
    let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
    let mut run = engine.docker();
    run.args(["run", "--detach", "--name", name, "--publish", &format!("127.0.0.1:{port}:1111")])
        .args(options)
        .arg(image);
    let started = Instant::now();
    kit::cmd::run(&mut run)?;
    let address = (Ipv4Addr::LOCALHOST, port).into();
    let has_login_page = || health::status(address, "/login").is_ok_and(|status| status == 200);
    kit::wait::until(DEADLINE, "the login page", || has_login_page().then_some(()))?;
    Ok(started.elapsed())
}

/// Processes of the container, and their proportional set size in bytes.
fn memory(engine: &Engine) -> Result<(usize, u64)> {
    let listed = kit::cmd::stdout(engine.docker().args(["top", NAME, "-eo", "pid"]))?;
    let pids: Vec<&str> = listed.lines().skip(1).map(str::trim).collect();
    let mut bytes = 0;
    for pid in &pids {
        let path = format!("/proc/{pid}/smaps_rollup");
        let text = fs::read_to_string(&path).with_context(|| {
            format!("cannot read {path}: memory is measured as root on the engine's own machine")
        })?;
        bytes += proportional(&text).with_context(|| format!("{path} has no Pss line"))?;
    }
    Ok((pids.len(), bytes))
}

/// The `Pss:` line of proc(5)'s `smaps_rollup`, in bytes.
fn proportional(smaps: &str) -> Option<u64> {
    let line = smaps.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    Some(line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok()? * 1024)
}

/// Bytes of the image, and of the layers that it has from its base.
fn sizes(engine: &Engine, image: &str) -> Result<(u64, u64)> {
    let label = "{{index .Config.Labels \"org.opencontainers.image.base.name\"}}";
    let inspect = |image: &str, format: &str| {
        kit::cmd::stdout(engine.docker().args(["image", "inspect", "--format", format, image]))
    };
    let base = inspect(image, label)?;
    let size = |image: &str| -> Result<u64> { Ok(inspect(image, "{{.Size}}")?.trim().parse()?) };
    let (own, base) = (size(image)?, size(base.trim())?);
    if own < base {
        bail!("{image} is smaller than its base");
    }
    Ok((own, base))
}

fn remove(engine: &Engine) -> Result<()> {
    kit::cmd::run(engine.docker().args(["rm", "--force", "--volumes", NAME]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_read_as_the_kernel_writes_it() {
        assert_eq!(proportional("Rss:  9 kB\nPss:            1234 kB\nPss_Dirty: 1 kB\n"), Some(1234 * 1024));
        assert_eq!(proportional(""), None);
    }
}
