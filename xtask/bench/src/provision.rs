//! `provision` beside `tee`: throughput of a script's output, memory, and time of a run with nothing to do.
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use xtask::checkout::Checkout;

use crate::samples::Samples;
use crate::{process_usage, tools};

/// One line of a usual length.
const LINE: &str =
    "2026-11-24 00:00:00,000 INFO a line of a program that says what it is doing at the moment, and why\n";
/// Size of the file that the script prints repeatedly, so that printing costs almost nothing.
const FILE: u64 = 100_000_000;
/// Interval at which a program's memory is read.
const POLL_INTERVAL: Duration = Duration::from_millis(5);

/// Throughput and memory of provision, and its cost with nothing to do; needs root and no engine
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Output of the script, in MB
    #[arg(long, default_value_t = 1_000)]
    megabytes: u64,
    /// Number of measurements
    #[arg(long, default_value_t = 5)]
    runs: usize,
}

/// Measures in turns and prints a table.
pub fn run(args: &Args) -> Result<()> {
    let place = Place::new(&tools::build(&Checkout::find()?, "provision")?, args.megabytes)?;
    let (mut ours, mut tee, mut idle, mut again) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let mut peak = 0.0_f64;
    for _ in 0..args.runs.max(1) {
        let (time, memory) = place.ours()?;
        ours.push(time);
        peak = peak.max(memory);
        tee.push(place.tee()?);
        again.push(time_of(place.provision(&place.script))?);
        idle.push(time_of(place.provision(Path::new("/no/such/script")))?);
    }
    let of = |times| Samples::new(times).context("nothing was measured");
    let megabytes = f64::from(u32::try_from(args.megabytes).context("too much to count")?);
    let mut out = io::stdout().lock();
    for (name, samples) in [("provision", of(ours)?), ("tee", of(tee)?)] {
        let rate = megabytes / samples.median().as_secs_f64();
        writeln!(out, "{name:<28}{samples}  {rate:>5.0} MB/s")?;
    }
    writeln!(out, "memory of provision at most {peak:.1} MB")?;
    for (name, samples) in [("nothing asked for", of(idle)?), ("nothing new", of(again)?)] {
        let [median, max] = [samples.median(), samples.max()].map(|time| time.as_secs_f64() * 1e3);
        writeln!(out, "{name:<28}{median:.1} ms  (max {max:.1})")?;
    }
    Ok(())
}

/// A directory with a script that prints.
struct Place {
    root: PathBuf,
    program: PathBuf,
    script: PathBuf,
}

impl Place {
    fn new(program: &Path, megabytes: u64) -> Result<Self> {
        let root = std::env::temp_dir().join(format!("leonardo-bench-provision-{}", std::process::id()));
        let place = Self { script: root.join("script.sh"), root, program: program.to_owned() };
        place.fill(megabytes).with_context(|| format!("cannot prepare {}", place.root.display()))?;
        Ok(place)
    }

    fn fill(&self, megabytes: u64) -> io::Result<()> {
        fs::create_dir(&self.root)?;
        // The script runs as another user.
        fs::set_permissions(&self.root, fs::Permissions::from_mode(0o755))?;
        let mut lines = File::create(self.root.join("lines"))?;
        let block = LINE.repeat(1_000);
        for _ in 0..FILE / block.len() as u64 {
            lines.write_all(block.as_bytes())?;
        }
        let times = (megabytes * 1_000_000).div_ceil(FILE);
        let script = format!("for i in $(seq {times}); do cat {}/lines; done\n", self.root.display());
        fs::write(&self.script, script)
    }

    fn provision(&self, script: &Path) -> Command {
        let mut command = Command::new(&self.program);
        command.args(["run", "--json"]).env_clear().env("USER_NAME", "nobody");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for secret in ["WEB_PASSWORD", "WEB_TOKEN", "HF_TOKEN", "CIVITAI_TOKEN"] {
            command.env(secret, format!("{secret} of a usual length"));
        }
        command.arg("--state").arg(self.root.join("state")).arg("--log").arg(self.root.join("log"));
        command.arg("--store").arg(self.root.join("store")).arg("--journal").arg(self.root.join("journal"));
        command.arg("--mounted").arg(script).stdout(Stdio::null()).stderr(Stdio::null());
        command
    }

    /// Duration of the script, and the peak of `provision`'s memory in MB.
    fn ours(&self) -> Result<(Duration, f64)> {
        for log in ["log", "log.1", "log.2"] {
            let _ = fs::remove_file(self.root.join(log));
        }
        let started = Instant::now();
        let mut child =
            self.provision(&self.script).arg("--force").spawn().context("cannot run provision")?;
        let mut memory = 0.0_f64;
        let status = loop {
            if let Some(status) = child.try_wait().context("cannot wait for provision")? {
                break status;
            }
            memory = memory.max(peak(&child));
            std::thread::sleep(POLL_INTERVAL);
        };
        let time = started.elapsed();
        if !status.success() {
            bail!("provision failed: {}", fs::read_to_string(self.root.join("log")).unwrap_or_default());
        }
        Ok((time, memory))
    }

    fn tee(&self) -> Result<Duration> {
        let kept = self.root.join("kept");
        let _ = fs::remove_file(&kept);
        let mut command = Command::new("sh");
        command.args(["-c", "bash \"$0\" 2>&1 | tee \"$1\" > /dev/null"]).arg(&self.script).arg(&kept);
        time_of(command)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.root);
    }
}

fn time_of(mut command: Command) -> Result<Duration> {
    let started = Instant::now();
    kit::cmd::run(&mut command)?;
    Ok(started.elapsed())
}

/// Peak memory in MB; zero once the process has exited.
fn peak(child: &Child) -> f64 {
    process_usage::peak_kilobytes(child.id()).map_or(0.0, |kilobytes| f64::from(kilobytes) * 1.024e-3)
}
