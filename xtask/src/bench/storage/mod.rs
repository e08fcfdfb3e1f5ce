//! The storage monitor, beside `inotifywait` with a loop of the shell.

mod ground;

use std::io::{self, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;

use super::spread::Spread;
use super::workspace::ours;
use crate::checkout::Checkout;
use crate::engine::packages;
use ground::Ground;

/// Linking 10,000 files into two applications, again, and as they come
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How often to measure each pass
    #[arg(long, default_value_t = 3)]
    runs: usize,
    /// Files of our passes; the peer gets a tenth
    #[arg(long, default_value_t = 10_000)]
    files: usize,
    /// Files that come one by one
    #[arg(long, default_value_t = 200)]
    singles: usize,
    /// Files that come as quickly as possible; the peer gets a hundredth
    #[arg(long, default_value_t = 100_000)]
    burst: usize,
    /// Where to work
    #[arg(long, default_value = "/tmp")]
    directory: PathBuf,
}

/// Measures and prints a table.
pub fn run(args: &Args) -> Result<()> {
    packages::install(&[("inotifywait", "inotify-tools")])?;
    let program = ours::build(&Checkout::find()?, "storage-monitor")?;
    let ours = |ground: &Ground, task: &str| ground.ours(&program, task);
    let tenth = (args.files / 10).max(1);
    passes("ours", args, args.files, |ground| ours(ground, "once"))?;
    passes("peer", args, tenth, |ground| {
        let mut command = ground.peer();
        command.env("ONCE", "yes");
        command
    })?;
    singles("ours", args, |ground| ours(ground, "run"))?;
    singles("peer", args, Ground::peer)?;
    burst("ours", &args.directory, args.burst, |ground| ours(ground, "run"))?;
    burst("peer", &args.directory, (args.burst / 100).max(1), Ground::peer)
}

fn passes(who: &str, args: &Args, files: usize, command: impl Fn(&Ground) -> Command) -> Result<()> {
    let (mut first, mut second) = (Vec::new(), Vec::new());
    for _ in 0..args.runs.max(1) {
        let ground = Ground::new(&args.directory, files)?;
        for times in [&mut first, &mut second] {
            let started = Instant::now();
            kit::cmd::run(&mut command(&ground))?;
            times.push(started.elapsed());
        }
    }
    row(who, &format!("first pass, {files} files"), first)?;
    row(who, &format!("second pass, {files} files"), second)
}

fn singles(who: &str, args: &Args, command: impl Fn(&Ground) -> Command) -> Result<()> {
    let ground = Ground::new(&args.directory, 1)?;
    let _monitor = Running::start(command(&ground))?;
    ground.wait_for_all(1)?;
    settle(&ground)?;
    let mut times = Vec::new();
    for number in 0..args.singles.max(1) {
        let name = format!("new-{number}");
        let started = Instant::now();
        ground.add(&name)?;
        ground.wait_for(&name)?;
        times.push(started.elapsed());
    }
    row(who, "one new file", times)
}

fn burst(who: &str, directory: &Path, files: usize, command: impl Fn(&Ground) -> Command) -> Result<()> {
    let ground = Ground::new(directory, 1)?;
    let _monitor = Running::start(command(&ground))?;
    ground.wait_for_all(1)?;
    settle(&ground)?;
    (0..files).try_for_each(|number| ground.add(&format!("burst-{number}")))?;
    let last = Instant::now();
    // The first file, and the one that shows that the watch is set.
    ground.wait_for_all(files + 2)?;
    row(who, &format!("{files} new files, after the last"), vec![last.elapsed()])
}

/// A watch is set some time after the first pass: files are added until one is noticed, all under one name.
fn settle(ground: &Ground) -> Result<()> {
    kit::wait::until(Duration::from_mins(1), "the watch", || ground.again("settled").ok()?.then_some(()))
}

fn row(who: &str, what: &str, times: Vec<Duration>) -> Result<()> {
    let count = times.len();
    let mut sorted = times.clone();
    sorted.sort_unstable();
    let slow = sorted[(count * 99 / 100).min(count - 1)];
    let spread = Spread::of(times).context("nothing was measured")?;
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    writeln!(
        io::stdout(),
        "{who}  {what:<40} median {:>9.1} ms, 99th {:>9.1} ms, n {count}",
        milliseconds(spread.median()),
        milliseconds(slow)
    )?;
    Ok(())
}

/// A monitor and what it started; ended when dropped.
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
            // It may have ended by itself.
            let _ = killpg(Pid::from_raw(group), Signal::SIGKILL);
        }
        let _ = self.0.wait();
    }
}
