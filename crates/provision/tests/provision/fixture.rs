//! A directory with everything that `provision` uses in a container.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use provision::Report;
use tempfile::TempDir;

/// Default divisor of all times: 0.2 s for a connection, 0.6 s for a byte, 2.4 s for all.
const TIME_DIVISOR: &str = "50";

/// A machine whose system user is `nobody`.
pub struct Machine {
    root: TempDir,
    pub env: BTreeMap<String, String>,
    /// Divisor of all times.
    pub time_divisor: &'static str,
    /// Path of the log.
    pub log_file: &'static str,
}

/// Result of a run.
#[derive(Debug)]
pub struct RunOutput {
    pub report: Report,
    pub code: Option<i32>,
    pub stderr: String,
}

impl Machine {
    pub fn new() -> Self {
        let root = tempfile::tempdir().unwrap();
        fs::set_permissions(root.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for shared in ["work", "state"] {
            fs::create_dir(root.path().join(shared)).unwrap();
        }
        fs::set_permissions(root.path().join("work"), fs::Permissions::from_mode(0o777)).unwrap();
        let path = std::env::var("PATH").unwrap();
        let workspace = root.path().join("work").display().to_string();
        let env = [("PATH", path), ("USER_NAME", "nobody".into()), ("WORKSPACE", workspace)];
        let env = env.into_iter().map(|(name, value)| (name.into(), value)).collect();
        Self { root, env, time_divisor: TIME_DIVISOR, log_file: "provisioning.log" }
    }

    /// The same, with all times divided by this.
    pub fn dividing_times_by(time_divisor: &'static str) -> Self {
        Self { time_divisor, ..Self::new() }
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.root.path().join(name)
    }

    pub fn set(&mut self, name: &str, value: impl Into<String>) -> &mut Self {
        self.env.insert(name.into(), value.into());
        self
    }

    /// Mounts a script.
    pub fn mount(&self, script: impl AsRef<[u8]>) {
        fs::write(self.path("provisioning.sh"), script).unwrap();
    }

    /// Records that late boot has passed provisioning.
    pub fn end_stage_well(&self) {
        let stage = journal::Stage::Provisioning;
        let journal = journal::Journal::new(&self.path("boot.jsonl"));
        let end =
            journal::Event::StageEnded { stage, result: journal::StageResult::Done, cause: None, hint: None };
        for event in [journal::Event::BootStarted { pid: 1 }, journal::Event::StageStarted { stage }, end] {
            journal.append(event).unwrap();
        }
    }

    /// The text of a file, or nothing.
    pub fn read(&self, name: &str) -> String {
        String::from_utf8_lossy(&fs::read(self.path(name)).unwrap_or_default()).into_owned()
    }

    /// The log, without the time in each line.
    pub fn log(&self) -> Vec<String> {
        let text = self.read("provisioning.log");
        let lines = text.lines().map(|line| {
            let (time, rest) = line.split_at_checked(21).unwrap_or_else(|| panic!("no time: {line:?}"));
            assert!(time.starts_with("20") && time.ends_with("Z "), "{line:?}");
            rest.to_owned()
        });
        lines.collect()
    }

    /// Output of the script itself.
    pub fn output(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| !line.starts_with("provision: ")).collect()
    }

    /// Events of the world-readable journal.
    pub fn notes(&self) -> Vec<String> {
        self.read("boot.jsonl").lines().map(note).collect()
    }

    /// The last line of the script, which only readers of its log may see.
    pub fn restricted_note(&self) -> Option<String> {
        Some(self.read("boot.confided.json")).filter(|text| !text.is_empty()).map(|text| note(&text))
    }

    /// A command of the tool, with the machine's paths.
    pub fn command(&self, task: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_provision"));
        command.args(task).env_clear().envs(&self.env).stdin(Stdio::null());
        for (option, name) in [
            ("--state", "state"),
            ("--log", self.log_file),
            ("--mounted", "provisioning.sh"),
            ("--store", "environment.sh"),
        ] {
            command.arg(option).arg(self.path(name));
        }
        if task.first() == Some(&"run") {
            command.args(["--time-divisor", self.time_divisor, "--journal"]).arg(self.path("boot.jsonl"));
        }
        command
    }

    pub fn run(&self) -> RunOutput {
        self.run_with(&[])
    }

    pub fn run_with(&self, options: &[&str]) -> RunOutput {
        let task = [&["run", "--json"], options].concat();
        parse_output(&self.command(&task).output().unwrap())
    }

    /// The fields of `provision status`, by name.
    pub fn status(&self) -> BTreeMap<String, String> {
        let output = self.command(&["status"]).output().unwrap();
        assert_eq!((output.status.code(), output.stderr.as_slice()), (Some(0), &b""[..]));
        let text = String::from_utf8(output.stdout).unwrap();
        text.lines().map(|line| (line[..11].trim().to_owned(), line[11..].to_owned())).collect()
    }
}

fn note(entry: &str) -> String {
    match serde_json::from_str::<journal::Entry>(entry).unwrap().event {
        journal::Event::StageNote { stage: journal::Stage::Provisioning, message } => message,
        other => panic!("{other:?}"),
    }
}

/// Parses the output of a run.
pub fn parse_output(output: &Output) -> RunOutput {
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    let report = serde_json::from_slice(&output.stdout)
        .unwrap_or_else(|error| panic!("{error}: {:?} {stderr}", String::from_utf8_lossy(&output.stdout)));
    RunOutput { report, code: output.status.code(), stderr }
}

/// Waits until a condition holds.
pub fn until(what: &str, ask: impl FnMut() -> bool) {
    let mut ask = ask;
    kit::wait::until(Duration::from_secs(20), what, || ask().then_some(())).unwrap();
}

/// True if a process exists and is not a zombie.
pub fn lives(process: i32) -> bool {
    let stat = fs::read_to_string(Path::new("/proc").join(process.to_string()).join("stat"));
    stat.is_ok_and(|stat| !stat.rsplit(") ").next().unwrap().starts_with(['Z', 'X']))
}
