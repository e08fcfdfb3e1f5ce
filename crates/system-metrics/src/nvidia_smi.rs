//! Runs `nvidia-smi`, which hangs when the driver does.

use std::collections::HashMap;
use std::io::Read;
use std::os::fd::AsFd;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::gpu::Gpu;
use crate::kernel_files::KernelFiles;
use crate::nvidia;

/// Places where the driver's tools are mounted. `PATH` may lead to a program of a user.
const DIRECTORIES: [&str; 4] = ["/usr/bin", "/usr/local/nvidia/bin", "/usr/lib/wsl/lib", "/usr/local/bin"];
/// Devices of the driver: Linux, and Windows' subsystem.
const DEVICES: [&str; 2] = ["dev/nvidiactl", "dev/dxg"];

/// Time after which it is killed. Without the persistence daemon, the driver needs some seconds for many GPUs.
const RUN_LIMIT: Duration = Duration::from_secs(15);
/// Maximum output, in bytes.
const MAX_OUTPUT: usize = 256 << 10;
/// Pause between looks at a program that has closed its output.
const EXIT_INTERVAL: Duration = Duration::from_millis(10);
/// Time in which a killed process ends, unless it is stuck in the driver.
const KILL_LIMIT: Duration = Duration::from_secs(2);

/// The program, and the run that could not be ended.
#[derive(Debug)]
pub struct NvidiaSmi {
    program: PathBuf,
    run_limit: Duration,
    stuck: Option<Child>,
}

impl NvidiaSmi {
    /// Finds the program. `None` without the driver's device; an error if there is one without the program.
    pub fn find(files: &KernelFiles) -> Option<Result<Self, String>> {
        if !DEVICES.iter().any(|device| files.has(device)) {
            return None;
        }
        let program = DIRECTORIES.map(|directory| Path::new(directory).join("nvidia-smi"));
        let program = program.into_iter().find(|program| files.has(program));
        Some(match program {
            Some(program) => Ok(Self::new(program, RUN_LIMIT)),
            None => Err("there is an NVIDIA device, but no nvidia-smi: start the container with NVIDIA_DRIVER_CAPABILITIES=all or compute,utility".into()),
        })
    }

    fn new(program: PathBuf, run_limit: Duration) -> Self {
        Self { program, run_limit, stuck: None }
    }

    /// Asks for all GPUs and their processes. Fails with a sentence for the user.
    pub fn gpus(&mut self) -> Result<Vec<Gpu>> {
        let gpus = self.query(&format!("--query-gpu={}", nvidia::GPU_FIELDS))?;
        // Not every driver shows processes; the GPUs are worth more.
        let processes = self.query(&format!("--query-compute-apps={}", nvidia::PROCESS_FIELDS));
        let processes = processes.map_or_else(|_| HashMap::new(), |text| nvidia::processes(&text));
        let found = nvidia::gpus(&gpus, processes);
        if found.is_empty() {
            bail!("nvidia-smi lists no GPU: {}", first_line(&gpus));
        }
        Ok(found)
    }

    fn query(&mut self, query: &str) -> Result<String> {
        if let Some(child) = &mut self.stuck {
            if !matches!(child.try_wait(), Ok(Some(_))) {
                bail!("nvidia-smi hangs in the driver and cannot be ended; restart the machine");
            }
            self.stuck = None;
        }
        let mut command = Command::new(&self.program);
        command.arg(query).arg("--format=csv,noheader,nounits");
        let command = command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().context("cannot run nvidia-smi")?;
        let deadline = Instant::now() + self.run_limit;
        let output = read_until(&mut child, deadline);
        let ended = wait_until(&mut child, deadline);
        let Some(status) = ended else {
            let _ = child.kill();
            if wait_until(&mut child, Instant::now() + KILL_LIMIT).is_none() {
                self.stuck = Some(child);
            }
            bail!(
                "nvidia-smi did not respond within {} s and was killed; the driver may hang",
                self.run_limit.as_secs()
            );
        };
        let output = output?;
        if !status.success() {
            bail!("nvidia-smi failed ({status}): {}", first_line(&output));
        }
        Ok(output)
    }
}

/// Returns when the program has ended; `None` if it has not by the deadline.
fn wait_until(child: &mut Child, deadline: Instant) -> Option<std::process::ExitStatus> {
    loop {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        if Instant::now() >= deadline {
            return None;
        }
        thread::sleep(EXIT_INTERVAL);
    }
}

/// Reads the output until it is closed, is too long, or the deadline passes.
fn read_until(child: &mut Child, deadline: Instant) -> Result<String> {
    let mut stdout = child.stdout.take().context("nvidia-smi has no output")?;
    let mut output = Vec::new();
    let mut buffer = [0; 8192];
    while output.len() < MAX_OUTPUT {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX);
        let ready = poll(&mut [PollFd::new(stdout.as_fd(), PollFlags::POLLIN)], timeout);
        if matches!(ready, Err(nix::errno::Errno::EINTR)) {
            continue;
        }
        if ready? == 0 {
            break;
        }
        match stdout.read(&mut buffer)? {
            0 => break,
            count => output.extend_from_slice(&buffer[..count]),
        }
    }
    Ok(String::from_utf8_lossy(&output).into_owned())
}

fn first_line(text: &str) -> String {
    let line = text.lines().find(|line| !line.trim().is_empty()).unwrap_or("it printed nothing");
    kit::quote::escape_control(line.trim()).chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::PermissionsExt;

    use super::*;
    use crate::kernel_files::tests::sample;

    /// A stand-in for `nvidia-smi`: a shell script. No GPU is needed.
    fn stand_in(script: &str, run_limit: Duration) -> (tempfile::TempDir, NvidiaSmi) {
        let dir = tempfile::tempdir().unwrap();
        let program = dir.path().join("stand-in-for-nvidia-smi");
        fs::write(&program, format!("#!/bin/sh\n{script}\n")).unwrap();
        fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
        let smi = NvidiaSmi::new(program, run_limit);
        (dir, smi)
    }

    const PATIENCE: Duration = Duration::from_mins(10);

    #[test]
    fn gpus_and_processes_come_from_two_queries() {
        let (_dir, mut smi) = stand_in(
            r#"case "$1 $2" in
                "--query-gpu=index,uuid,name,memory.total,"*"--format=csv,noheader,nounits") echo "0, GPU-1, Stand-in, 1024, 512, 50, 60, 70, 80, Disabled" ;;
                "--query-compute-apps="*) echo "GPU-1, 7, 100, python" ;;
            esac"#,
            PATIENCE,
        );
        let gpus = smi.gpus().unwrap();
        assert_eq!(
            (gpus[0].model.as_str(), gpus[0].load, gpus[0].processes.len()),
            ("Stand-in", Some(50.0), 1)
        );
    }

    #[test]
    fn each_failure_has_its_sentence() {
        for (script, expected) in [
            (
                "echo; echo \"NVIDIA-SMI has failed because it couldn't communicate\"; exit 9",
                "nvidia-smi failed (exit status: 9): NVIDIA-SMI has failed because it couldn't communicate",
            ),
            (
                "echo 'No devices were found'; exit 6",
                "nvidia-smi failed (exit status: 6): No devices were found",
            ),
            ("printf 'a\\033[31mb'", "nvidia-smi lists no GPU: a\\u{1b}[31mb"),
            ("exit 0", "nvidia-smi lists no GPU: it printed nothing"),
        ] {
            let (_dir, mut smi) = stand_in(script, PATIENCE);
            assert_eq!(format!("{:#}", smi.gpus().unwrap_err()), expected);
        }
        let (_dir, mut smi) = stand_in("exec yes '0, GPU-1, Stand-in'", PATIENCE);
        let error = format!("{:#}", smi.gpus().unwrap_err());
        assert!(error.starts_with("nvidia-smi failed (signal: 13"), "endless output is cut: {error}");
        let mut missing = NvidiaSmi::new("/nonexistent/nvidia-smi".into(), PATIENCE);
        assert!(format!("{:#}", missing.gpus().unwrap_err()).starts_with("cannot run nvidia-smi: "));
    }

    #[test]
    fn a_program_that_hangs_is_killed() {
        let (dir, mut smi) =
            stand_in("echo $$ > \"${0%/*}/pid\"; exec sleep 1000", Duration::from_millis(300));
        let error = format!("{:#}", smi.gpus().unwrap_err());
        assert_eq!(error, "nvidia-smi did not respond within 0 s and was killed; the driver may hang");
        assert!(smi.stuck.is_none());
        if let Ok(pid) = fs::read_to_string(dir.path().join("pid")) {
            assert!(!kit::process::Process::new(pid.trim()).exists());
        }
    }

    #[test]
    fn the_program_is_run_only_with_a_device() {
        let find = |files: &[(&str, &str)]| NvidiaSmi::find(&sample(files).1);
        assert!(find(&[("usr/bin/nvidia-smi", "")]).is_none());
        assert!(find(&[("dev/nvidiactl", "")]).unwrap().unwrap_err().contains("no nvidia-smi"));
        let found = find(&[("dev/dxg", ""), ("usr/lib/wsl/lib/nvidia-smi", "")]).unwrap().unwrap();
        assert_eq!(found.program, Path::new("/usr/lib/wsl/lib/nvidia-smi"));
    }
}
