//! `logtail` beside `tail -f` into `tee`: how much it takes, how soon a line is shown, and its memory.

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::spread::Spread;
use crate::cargo::cargo;
use crate::checkout::Checkout;

/// One line of a usual length.
const LINE: &str =
    "2026-11-24 00:00:00,000 INFO a line of a program that says what it is doing at the moment, and why\n";
/// Lines that are written at once.
const BLOCK: usize = 1_000;
/// Between two lines of which the time is taken.
const BETWEEN: Duration = Duration::from_millis(15);

/// How much `logtail` takes, how soon a line is shown, and its memory; needs no engine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How much each is given, in MB
    #[arg(long, default_value_t = 2_000)]
    megabytes: u64,
    /// How many lines are timed
    #[arg(long, default_value_t = 200)]
    lines: usize,
    /// How often to measure
    #[arg(long, default_value_t = 3)]
    runs: usize,
}

/// Measures in turns and prints a table.
pub fn run(args: &Args) -> Result<()> {
    let checkout = Checkout::find()?;
    kit::cmd::run(cargo(&checkout).args(["build", "--quiet", "--release", "--package", "logtail"]))?;
    let program = checkout.root().join("target/release/logtail");
    let mut out = io::stdout().lock();
    for round in 1..=args.runs.max(1) {
        for candidate in [Candidate::Ours(&program), Candidate::Peer] {
            let (rate, memory) = rate(&candidate, args.megabytes)?;
            let latency = latency(&candidate, args.lines)?;
            writeln!(
                out,
                "{round}  {:<12}  {rate:>4.0} MB/s  a line after {:>6.1} ms (median)  {:>6.1} MB of memory",
                candidate.name(),
                latency.median().as_secs_f64() * 1e3,
                memory,
            )?;
        }
    }
    Ok(())
}

enum Candidate<'a> {
    Ours(&'a Path),
    /// What people type: it keeps the lines in a file too.
    Peer,
}

/// A candidate at work in a directory of its own.
struct Running {
    child: Child,
    root: PathBuf,
}

impl Candidate<'_> {
    fn name(&self) -> &'static str {
        match self {
            Self::Ours(_) => "logtail",
            Self::Peer => "tail | tee",
        }
    }

    /// Starts it on a log that has so many lines already.
    fn start(&self, lines: u64) -> Result<(Running, PathBuf)> {
        let root = std::env::temp_dir().join(format!("leonardo-bench-logtail-{}", std::process::id()));
        let logs = root.join("var/log/supervisor");
        fs::create_dir_all(&logs).with_context(|| format!("cannot create {}", logs.display()))?;
        let log = logs.join("x.log");
        let block = LINE.repeat(BLOCK);
        File::create(&log)
            .and_then(|mut file| (0..lines / BLOCK as u64).try_for_each(|_| file.write_all(block.as_bytes())))
            .with_context(|| format!("cannot write {}", log.display()))?;
        let mut command = match self {
            Self::Ours(program) => {
                let mut command = Command::new(program);
                command.arg("follow").arg("--root").arg(&root);
                command
            }
            Self::Peer => {
                let mut command = Command::new("sh");
                command.args(["-c", "tail -n +1 -f \"$0\" | tee \"$1\""]).arg(&log).arg(root.join("kept"));
                // Both of the pipe are ended with their shell.
                std::os::unix::process::CommandExt::process_group(&mut command, 0);
                command
            }
        };
        let child =
            command.stdout(Stdio::piped()).spawn().with_context(|| format!("cannot run {command:?}"))?;
        Ok((Running { child, root }, log))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Ok(pid) = i32::try_from(self.child.id()) {
            // Fails for what is no group; the kill after it is for that.
            let _ =
                nix::sys::signal::killpg(nix::unistd::Pid::from_raw(pid), nix::sys::signal::Signal::SIGKILL);
        }
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.root);
    }
}

/// MB in a second of a log that is there already, and the peak of the program's own memory in MB.
fn rate(candidate: &Candidate<'_>, megabytes: u64) -> Result<(f64, f64)> {
    let lines = megabytes * 1_000_000 / LINE.len() as u64 / BLOCK as u64 * BLOCK as u64;
    let (mut running, _) = candidate.start(lines)?;
    let started = Instant::now();
    let mut output = running.child.stdout.take().context("there is no output")?;
    let mut buffer = vec![0; 256 * 1024];
    let mut seen = 0;
    while seen < lines {
        let got = output.read(&mut buffer).context("cannot read the output")?;
        if got == 0 {
            bail!("{} has ended", candidate.name());
        }
        seen += memchr::memchr_iter(b'\n', &buffer[..got]).count() as u64;
    }
    let took = started.elapsed();
    let bytes = u32::try_from(seen * LINE.len() as u64 / 1_000).context("too much to count")?;
    Ok((f64::from(bytes) / 1e3 / took.as_secs_f64(), peak(running.child.id())?))
}

/// From the write of a line until it can be read at the other end.
fn latency(candidate: &Candidate<'_>, lines: usize) -> Result<Spread> {
    let (mut running, log) = candidate.start(0)?;
    let mut file = OpenOptions::new().append(true).open(log)?;
    let mut output = BufReader::new(running.child.stdout.take().context("there is no output")?);
    let mut measured = Vec::new();
    for _ in 0..=lines {
        let started = Instant::now();
        file.write_all(LINE.as_bytes())?;
        output.read_line(&mut String::new())?;
        measured.push(started.elapsed());
        // The pace of a program, not a wait for something.
        thread::sleep(BETWEEN);
    }
    // The first one has the program's start in it.
    measured.remove(0);
    Spread::of(measured).context("nothing was measured")
}

/// `VmHWM` of proc(5), in MB.
fn peak(process: u32) -> Result<f64> {
    let path = format!("/proc/{process}/status");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {path}"))?;
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kilobytes = line.and_then(|line| line.trim().strip_suffix("kB")).context("no VmHWM")?;
    Ok(f64::from(kilobytes.trim().parse::<u32>().context("not a number")?) * 1.024e-3)
}
