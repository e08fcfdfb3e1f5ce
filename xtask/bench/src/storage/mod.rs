//! The storage monitor, beside `inotifywait` with a loop of the shell.

mod fixture;
use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use xtask::checkout::Checkout;
use xtask::engine::packages;

use crate::samples::Samples;
use crate::{process_usage, tools};
use fixture::Fixture;

/// Time to link 10,000 files into two applications, to check the links, and to link new files
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Number of measurements of each pass
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Files of our passes; the peer gets a tenth
    #[arg(long, default_value_t = 10_000)]
    files: usize,
    /// Files that are added one by one
    #[arg(long, default_value_t = 1_000)]
    singles: usize,
    /// Files that are added as quickly as possible; the peer gets a hundredth
    #[arg(long, default_value_t = 100_000)]
    burst: usize,
    /// Files of the largest storage, whose memory is measured
    #[arg(long, default_value_t = 200_000)]
    large: usize,
    /// Seconds without a change, for the processor time of a monitor that has nothing to do
    #[arg(long, default_value_t = 30)]
    idle: u64,
    /// Directory to work in
    #[arg(long, default_value = "/tmp")]
    directory: PathBuf,
}

/// Measures and prints a table.
pub fn run(args: &Args) -> Result<()> {
    packages::install(&[("inotifywait", "inotify-tools")])?;
    let program = tools::build(&Checkout::find()?, "storage-monitor")?;
    let ours = |fixture: &Fixture, task: &str| fixture.monitor_command(&program, task);
    let tenth = (args.files / 10).max(1);
    let mut fixtures = Vec::new();
    passes("ours", args, args.files, &mut fixtures, |fixture| ours(fixture, "once"))?;
    let peer = |fixture: &Fixture| {
        let mut command = fixture.shell_command();
        command.env("ONCE", "yes");
        command
    };
    passes("peer", args, tenth, &mut fixtures, peer)?;
    let name = |number: usize| format!("new-{number}");
    let (fixture, monitor) = start(args, 1, &mut fixtures, |fixture| ours(fixture, "run"))?;
    singles("ours", "one new file", args, fixture, name)?;
    drop(monitor);
    let (fixture, monitor) = start(args, 1, &mut fixtures, Fixture::shell_command)?;
    singles("peer", "one new file", args, fixture, name)?;
    drop(monitor);
    burst("ours", args, args.burst, &mut fixtures, |fixture| ours(fixture, "run"))?;
    burst("peer", args, (args.burst / 100).max(1), &mut fixtures, Fixture::shell_command)?;
    for directories in [1, 200, 20_000] {
        memory(args, directories, &mut fixtures, ours)?;
    }
    idle(args, &mut fixtures, ours)
}

/// Fixtures of all measurements: removed at the end, because ext4 without a journal skips the inodes of recently removed
/// files, one by one, whenever it creates a file.
type Fixtures = Vec<Fixture>;

fn keep(fixtures: &mut Fixtures, fixture: Fixture) -> Result<&Fixture> {
    fixtures.push(fixture);
    fixtures.last().context("it was kept")
}

fn passes(
    who: &str,
    args: &Args,
    files: usize,
    fixtures: &mut Fixtures,
    command: impl Fn(&Fixture) -> Command,
) -> Result<()> {
    let (mut first, mut second, mut baseline) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.runs.max(1) {
        let fixture = keep(fixtures, Fixture::new(&args.directory, files, 1)?)?;
        for times in [&mut first, &mut second] {
            let started = Instant::now();
            kit::cmd::run(&mut command(fixture))?;
            times.push(started.elapsed());
        }
        baseline.push(fixture.baseline()?);
    }
    row(who, &format!("first pass, {files} files"), first)?;
    row(who, &format!("second pass, {files} files"), second)?;
    row("bare", &format!("the links of {files} files"), baseline)
}

/// Starts a monitor of one directory, and waits until it reacts to changes.
fn start<'a>(
    args: &Args,
    files: usize,
    fixtures: &'a mut Fixtures,
    command: impl Fn(&Fixture) -> Command,
) -> Result<(&'a Fixture, Running)> {
    let fixture = keep(fixtures, Fixture::new(&args.directory, files, 1)?)?;
    let monitor = Running::start(command(fixture))?;
    fixture.wait_for_all(files)?;
    wait_for_watch(fixture)?;
    Ok((fixture, monitor))
}

fn burst(
    who: &str,
    args: &Args,
    files: usize,
    fixtures: &mut Fixtures,
    command: impl Fn(&Fixture) -> Command,
) -> Result<()> {
    let (fixture, _monitor) = start(args, 1, fixtures, command)?;
    (0..files).try_for_each(|number| fixture.add(&format!("burst-{number}")))?;
    let last = Instant::now();
    // The first file, and the one by which the watch was detected.
    fixture.wait_for_all(files + 2)?;
    row(who, &format!("{files} new files, after the last"), vec![last.elapsed()])
}

/// New files, each after the link to the one before; `name` depends on its number.
fn singles(
    who: &str,
    what: &str,
    args: &Args,
    fixture: &Fixture,
    name: impl Fn(usize) -> String,
) -> Result<()> {
    let mut times = Vec::new();
    for name in (0..args.singles.max(1)).map(name) {
        let started = Instant::now();
        fixture.add(&name)?;
        fixture.wait_for(&name)?;
        times.push(started.elapsed());
    }
    row(who, what, times)
}

/// Peak memory of a first pass, and of another after a restart.
fn memory(
    args: &Args,
    directories: usize,
    fixtures: &mut Fixtures,
    ours: impl Fn(&Fixture, &str) -> Command,
) -> Result<()> {
    let fixture = keep(fixtures, Fixture::new(&args.directory, args.large, directories)?)?;
    let mut peaks = Vec::new();
    for _ in 0..2 {
        let monitor = Running::start(ours(fixture, "run"))?;
        // Returns after another scan of everything.
        kit::wait::until(Duration::from_mins(5), "the monitor", || {
            fixture.has_state().then(|| kit::cmd::run(&mut ours(fixture, "once")).ok()).flatten()
        })?;
        let peak = process_usage::peak_kilobytes(monitor.0.id());
        peaks.push(peak.context("cannot read the monitor's peak memory")?);
        if directories > 1 && peaks.len() == 1 {
            let what = format!("one new file, {directories} directories");
            singles("ours", &what, args, fixture, |number| {
                format!("{:04}/new-{number}", number * 97 % directories)
            })?;
        }
        drop(monitor);
        fixture.forget_state()?;
    }
    let [first, second] = peaks[..] else { return Ok(()) };
    writeln!(
        io::stdout(),
        "ours  peak memory, {} files in {directories:>5} directories, two applications: {} kB, after a restart {} kB",
        args.large,
        first,
        second
    )?;
    Ok(())
}

/// Processor time of a monitor without events.
fn idle(args: &Args, fixtures: &mut Fixtures, ours: impl Fn(&Fixture, &str) -> Command) -> Result<()> {
    let (fixture, monitor) = start(args, args.files, fixtures, |fixture| ours(fixture, "run"))?;
    kit::cmd::run(&mut ours(fixture, "once"))?;
    let before = process_usage::processor_time(monitor.0.id())?;
    std::thread::sleep(Duration::from_secs(args.idle));
    let used = process_usage::processor_time(monitor.0.id())?.saturating_sub(before);
    writeln!(
        io::stdout(),
        "ours  idle, {} files: {:.0} ms of processor time in {} s",
        args.files,
        used.as_secs_f64() * 1e3,
        args.idle
    )?;
    Ok(())
}

/// Waits until the watch is set, some time after the first pass: replaces a file until it is linked.
fn wait_for_watch(fixture: &Fixture) -> Result<()> {
    kit::wait::until(Duration::from_mins(1), "the watch", || fixture.relink("settled").ok()?.then_some(()))
}

fn row(who: &str, what: &str, times: Vec<Duration>) -> Result<()> {
    let count = times.len();
    let samples = Samples::new(times).context("nothing was measured")?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    writeln!(
        io::stdout(),
        "{who}  {what:<40} best {:>9.1} ms, median {:>9.1} ms, 99th {:>9.1} ms, n {count}",
        milliseconds(samples.min()),
        milliseconds(samples.median()),
        milliseconds(samples.p99())
    )?;
    Ok(())
}

/// A monitor with its children; killed when dropped.
struct Running(Child);

impl Running {
    fn start(mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).process_group(0);
        command.spawn().map(Self).with_context(|| format!("cannot run {}", kit::cmd::describe(&command)))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(group) = i32::try_from(self.0.id()) {
            // It may have exited already.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}
