//! A storage and two applications, and what was linked there.
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use tempfile::TempDir;

const DEADLINE: Duration = Duration::from_mins(5);
const TARGETS: [&str; 2] = ["app/one", "app/two"];
const MODELS: &str = "storage/models";

/// Directories for one measurement: `/tmp/bXYZ/storage/models/NAME` is as long as `/workspace/storage/models/NAME`. ext4
/// keeps up to 59 bytes of a link in its inode, and needs a block for more.
pub struct Fixture {
    top: TempDir,
}

impl Fixture {
    /// Creates it with `files` files in the storage, in `directories` directories.
    pub fn new(directory: &Path, files: usize, directories: usize) -> Result<Self> {
        let top = tempfile::Builder::new().prefix("b").rand_bytes(4).tempdir_in(directory)?;
        // An unprivileged user reads the mapping.
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755))?;
        let fixture = Self { top };
        for directory in [MODELS, TARGETS[0], TARGETS[1], "image"] {
            fs::create_dir_all(fixture.path(directory))?;
        }
        let targets = TARGETS.map(|target| fixture.path(target).display().to_string()).join("\n");
        fs::write(fixture.path("mappings.sh"), format!("storage_map[models]='{targets}'\n"))?;
        for number in 0..files {
            let name = format!("model-{number:06}.safetensors");
            if directories <= 1 {
                fixture.add(&name)?;
                continue;
            }
            let directory = format!("{:04}", number % directories);
            if number < directories {
                fs::create_dir(fixture.path(MODELS).join(&directory))?;
            }
            fixture.add(&format!("{directory}/{name}"))?;
        }
        Ok(fixture)
    }

    fn path(&self, path: &str) -> PathBuf {
        self.top.path().join(path)
    }

    /// One more file.
    pub fn add(&self, name: &str) -> Result<()> {
        fs::write(self.path(MODELS).join(name), "").context("cannot write into the storage")
    }

    /// Waits until a file is linked in the second application, which comes last.
    pub fn wait_for(&self, name: &str) -> Result<()> {
        let link = self.path(TARGETS[1]).join(name);
        let started = Instant::now();
        // Busy waiting: pauses would be part of the measurement.
        while link.symlink_metadata().is_err() {
            anyhow::ensure!(started.elapsed() < DEADLINE, "{} was never linked", link.display());
            std::hint::spin_loop();
        }
        Ok(())
    }

    /// Replaces a file unless the monitor has linked it; returns true if it has.
    pub fn relink(&self, name: &str) -> Result<bool> {
        let linked = self.path(TARGETS[1]).join(name).symlink_metadata().is_ok();
        if !linked {
            let _ = fs::remove_file(self.path(MODELS).join(name));
            self.add(name)?;
        }
        Ok(linked)
    }

    /// Waits until `count` files are linked.
    pub fn wait_for_all(&self, count: usize) -> Result<()> {
        let linked = || fs::read_dir(self.path(TARGETS[1])).map_or(0, Iterator::count);
        kit::wait::until(DEADLINE, "all links", || (linked() >= count).then_some(()))
    }

    /// Makes the links of the first pass by bare system calls, in separate directories; nothing can be faster.
    pub fn baseline(&self) -> Result<Duration> {
        let names: Vec<_> =
            fs::read_dir(self.path(MODELS))?.map(|entry| Ok(entry?.file_name())).collect::<Result<_>>()?;
        let models = self.path(MODELS);
        let started = Instant::now();
        for target in TARGETS {
            let target = self.path(&format!("{target}-baseline"));
            fs::create_dir(&target)?;
            names.iter().try_for_each(|name| symlink(models.join(name), target.join(name)))?;
        }
        Ok(started.elapsed())
    }

    /// True if our monitor has written its state.
    pub fn has_state(&self) -> bool {
        self.path("status.json").exists()
    }

    /// Removes the state of a monitor that has exited.
    pub fn forget_state(&self) -> Result<()> {
        fs::remove_file(self.path("status.json")).context("cannot remove the state")
    }

    /// Command of our monitor.
    pub fn monitor_command(&self, program: &Path, task: &str) -> Command {
        let mut command = Command::new(program);
        command.arg(task).env_clear().env("WORKSPACE", self.top.path());
        for (option, path) in [
            ("--mappings", "mappings.sh"),
            ("--image", "image"),
            ("--state", "state"),
            ("--status", "status.json"),
        ] {
            command.arg(option).arg(self.path(path));
        }
        command
    }

    /// Command of inotifywait with a loop of the shell.
    pub fn shell_command(&self) -> Command {
        let mut command = Command::new("bash");
        command.args(["-c", include_str!("peer.sh"), "peer"]).arg(self.path(MODELS));
        command.args(TARGETS.map(|target| self.path(target)));
        command
    }
}
