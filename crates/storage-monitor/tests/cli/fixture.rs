//! A workspace, an application and a monitor for one test.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use serde_json::Value;
use tempfile::TempDir;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_storage-monitor");
const DEADLINE: Duration = Duration::from_mins(1);

/// Directories; everything is removed with it.
pub struct World {
    top: TempDir,
    running: Option<Child>,
}

/// Result of a run.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    pub code: Option<i32>,
    pub out: String,
    pub error: String,
}

impl World {
    /// With a storage, an application `app`, and this mapping; `APP` and `TOP` stand for directories.
    pub fn new(mapping: &str) -> Self {
        let top = tempfile::tempdir().unwrap();
        // bash reads the mapping as the user `nobody`.
        fs::set_permissions(top.path(), fs::Permissions::from_mode(0o755)).unwrap();
        for directory in ["workspace/storage", "image", "app", "state"] {
            fs::create_dir_all(top.path().join(directory)).unwrap();
        }
        let world = Self { top, running: None };
        world.map(mapping);
        world
    }

    pub fn map(&self, mapping: &str) {
        let top = self.path("");
        let text =
            mapping.replace("APP", "TOP/app").replace("TOP", top.to_str().unwrap().trim_end_matches('/'));
        let new = self.path("mappings.new");
        fs::write(&new, text).unwrap();
        fs::set_permissions(&new, fs::Permissions::from_mode(0o644)).unwrap();
        fs::create_dir_all(self.path("etc")).unwrap();
        fs::rename(new, self.path("etc/mappings.sh")).unwrap();
    }

    pub fn path(&self, path: impl AsRef<Path>) -> PathBuf {
        self.top.path().join(path)
    }

    pub fn stored(&self, path: impl AsRef<Path>) -> PathBuf {
        self.path("workspace/storage").join(path)
    }

    pub fn store(&self, path: impl AsRef<Path>) {
        let path = self.stored(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, "content").unwrap();
    }

    pub fn command(&self, arguments: &[&str]) -> Command {
        self.command_of(arguments, "")
    }

    /// For another container on the same volume: with state, image and status of its own.
    pub fn command_of(&self, arguments: &[&str], container: &str) -> Command {
        let mut command = Command::new(PROGRAM);
        self.prepare(&mut command, arguments, container);
        command
    }

    pub fn prepare(&self, command: &mut Command, arguments: &[&str], container: &str) {
        let own = |name: &str| self.path(format!("{name}{container}"));
        command.args(arguments).env_clear().env("WORKSPACE", self.path("workspace"));
        command.env("IMAGE_SLUG", format!("image{container}"));
        command.arg("--mappings").arg(own("etc").join("mappings.sh"));
        command.arg("--image").arg(own("image")).arg("--state").arg(own("state"));
        command.arg("--status").arg(own("run").join("status.json"));
    }

    pub fn run(&self, arguments: &[&str]) -> Answer {
        self.answer(self.command(arguments).output().unwrap())
    }

    /// Returns the state that the monitor has written.
    pub fn state(&self) -> Value {
        serde_json::from_str(&self.run(&["status", "--json"]).out).unwrap()
    }

    /// Requests scans until one was quick: the monitor pauses for a thousand times as long as the last scan took, which a
    /// busy machine makes longer than a test waits.
    #[track_caller]
    pub fn until_a_scan_is_due_soon(&self) {
        self.until("a quick scan", || {
            self.run(&["once"]);
            self.state()["rescan_seconds"].as_u64() <= Some(15)
        });
    }

    /// With the directories' names taken out.
    pub fn answer(&self, output: Output) -> Answer {
        let top = self.top.path().to_str().unwrap();
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap().replace(top, "TOP");
        Answer { code: output.status.code(), out: text(output.stdout), error: text(output.stderr) }
    }

    /// Starts the monitor, and waits for its first look.
    pub fn start(&mut self) {
        self.start_as(Command::new(PROGRAM));
    }

    pub fn start_as(&mut self, command: Command) {
        self.begin_as(command);
        self.until("the first look", || self.path("run/status.json").exists());
    }

    /// Starts the monitor, and waits for nothing.
    pub fn begin(&mut self) {
        self.begin_as(Command::new(PROGRAM));
    }

    fn begin_as(&mut self, mut command: Command) {
        self.stop(Signal::SIGKILL);
        let _ = fs::remove_file(self.path("run/status.json"));
        self.prepare(&mut command, &["run"], "");
        let log = fs::File::create(self.path("log")).unwrap();
        self.running = Some(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap());
    }

    pub fn process(&self) -> u32 {
        self.running.as_ref().unwrap().id()
    }

    pub fn log(&self) -> String {
        let top = self.top.path().to_str().unwrap();
        fs::read_to_string(self.path("log")).unwrap().replace(top, "TOP")
    }

    /// Ends the monitor, and returns its exit code.
    pub fn stop(&mut self, signal: Signal) -> Option<i32> {
        let mut child = self.running.take()?;
        kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
        child.wait().unwrap().code()
    }

    #[track_caller]
    pub fn until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        if kit::wait::until(DEADLINE, what, || is_so().then_some(())).is_err() {
            let log = fs::read_to_string(self.path("log")).unwrap_or_default();
            panic!("waited in vain for {what}; links: {:#?}; log:\n{log}", self.links());
        }
    }

    #[track_caller]
    pub fn until_links(&self, expected: &[&str]) {
        self.until(&format!("{expected:#?}"), || self.links() == expected);
    }

    /// Everything in the application: directories, files, and links with their texts below the storage.
    pub fn links(&self) -> Vec<String> {
        self.links_in("app")
    }

    pub fn links_in(&self, directory: &str) -> Vec<String> {
        let mut all = Vec::new();
        collect(&self.path(directory), &self.path(directory), &self.stored(""), &mut all);
        all
    }

    /// The links that would be there if no monitor had ever run: in another application.
    pub fn fresh(&self) -> Vec<String> {
        let text = fs::read_to_string(self.path("etc/mappings.sh")).unwrap();
        let app = self.path("app");
        fs::create_dir_all(self.path("etc-fresh")).unwrap();
        let fresh = self.path("fresh");
        fs::create_dir(&fresh).unwrap();
        let file = self.path("etc-fresh/mappings.sh");
        fs::write(&file, text.replace(app.to_str().unwrap(), fresh.to_str().unwrap())).unwrap();
        fs::set_permissions(&file, fs::Permissions::from_mode(0o644)).unwrap();
        let output = self.command_of(&["once"], "-fresh").output().unwrap();
        assert!(output.status.success(), "{output:?}");
        let links = self.links_in("fresh");
        fs::remove_dir_all(fresh).unwrap();
        fs::remove_dir_all(self.path("state-fresh")).unwrap();
        links
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.stop(Signal::SIGKILL);
    }
}

fn collect(directory: &Path, top: &Path, storage: &Path, all: &mut Vec<String>) {
    let Ok(entries) = fs::read_dir(directory) else { return };
    let mut paths: Vec<_> = entries.map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    for path in paths {
        let shown = path.strip_prefix(top).unwrap().to_string_lossy().into_owned();
        match fs::read_link(&path) {
            Ok(to) => {
                let to = to.strip_prefix(storage).map(Path::to_owned).unwrap_or(to);
                all.push(format!("{shown} -> {}", to.to_string_lossy()));
            }
            Err(_) if path.is_dir() => {
                all.push(format!("{shown}/"));
                collect(&path, top, storage, all);
            }
            Err(_) => all.push(shown),
        }
    }
}

#[track_caller]
pub fn mount(arguments: &[&str], on: &Path) {
    assert!(Command::new("mount").args(arguments).arg(on).status().unwrap().success());
}

pub fn unmount(path: &Path) {
    // Lazily, because it may be in use.
    assert!(Command::new("umount").arg("--lazy").arg(path).status().unwrap().success());
}
