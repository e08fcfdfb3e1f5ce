//! The tool with a stand-in for rclone that mounts nothing: what it is started with, and how it is started again and stopped.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

const LONG: Duration = Duration::from_mins(1);

/// Lists the names in `remotes`, and mounts by recording its arguments and environment in `calls`.
const STAND_IN: &str = r#"#!/bin/bash
cd "$STAND_IN"
case $1 in
listremotes) [ ! -e hang ] || { touch asked; exec sleep infinity; }; echo $$ >> listed; cat remotes ;;
mount) echo "$* pid=$$ $(env | grep ^RCLONE | sort | xargs)" >> calls; [[ $2 != fails: ]] || exit 1; exec sleep infinity ;;
esac
"#;

struct Run {
    directory: TempDir,
    child: Child,
}

impl Run {
    fn start(remotes: &str, prepare: impl FnOnce(&Path)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name);
        fs::create_dir(path("workspace")).unwrap();
        fs::write(path("remotes"), remotes).unwrap();
        fs::write(path("rclone.conf"), remotes).unwrap();
        fs::write(path("rclone"), STAND_IN).unwrap();
        fs::set_permissions(path("rclone"), fs::Permissions::from_mode(0o755)).unwrap();
        prepare(directory.path());
        let child = Command::new(env!("CARGO_BIN_EXE_rclone-run"))
            .arg("--rclone")
            .arg(path("rclone"))
            .arg("--store")
            .arg(path("environment.sh"))
            .arg("--journal")
            .arg(path("boot.jsonl"))
            .env_clear()
            .env("PATH", "/usr/bin:/bin")
            .env("STAND_IN", directory.path())
            .env("WORKSPACE", path("workspace"))
            .env("RCLONE_CONFIG", path("rclone.conf"))
            .env("RCLONE_CACHE_DIR", path("cache"))
            .env("RCLONE_CONFIG_MY_PASS", "a secret")
            .stderr(fs::File::create(path("log")).unwrap())
            .stdin(Stdio::null())
            .spawn()
            .unwrap();
        Self { directory, child }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn calls(&self) -> String {
        fs::read_to_string(self.path("calls")).unwrap_or_default()
    }

    fn log(&self) -> String {
        fs::read_to_string(self.path("log")).unwrap()
    }

    /// Waits for the end of a number of requests for the list of remotes.
    fn wait_for_requests(&self, number: usize) {
        self.wait_until("the request", || {
            let listed = fs::read_to_string(self.path("listed")).unwrap_or_default();
            listed.lines().nth(number - 1).is_some_and(|id| !Path::new("/proc").join(id).exists())
        });
    }

    fn wait_until(&self, what: &str, mut ask: impl FnMut() -> bool) {
        if let Err(error) = kit::wait::until(LONG, what, || ask().then_some(())) {
            panic!("{error}: {} {}", self.calls(), self.log());
        }
    }

    fn configure(&self, remotes: &str) {
        for name in ["remotes", "rclone.conf"] {
            fs::write(self.path(name), remotes).unwrap();
        }
    }

    /// Sends SIGTERM; returns the duration of the stop.
    fn stop(&mut self) -> Duration {
        let started = Instant::now();
        let id = self.child.id().to_string();
        assert!(Command::new("kill").args(["-TERM", &id]).status().unwrap().success());
        assert!(self.child.wait().unwrap().success());
        started.elapsed()
    }
}

impl Drop for Run {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn process(call: &str) -> PathBuf {
    let id = call.split(" pid=").nth(1).unwrap().split(' ').next().unwrap();
    Path::new("/proc").join(id)
}

#[test]
fn a_remote_has_a_process_as_long_as_it_is_configured() {
    let mut run = Run::start("my remote:\n../x:\n", |_| {});
    run.wait_until("the process", || run.calls().lines().count() == 1);
    let call = run.calls();
    let point = run.path("workspace/remote/my remote");
    assert!(call.starts_with(&format!("mount my remote: {} pid=", point.display())), "{call}");
    for variable in ["RCLONE_CONFIG_MY_PASS=a secret", "RCLONE_VFS_CACHE_MODE=writes", "RCLONE_UMASK=002"] {
        assert!(call.contains(variable), "{call}");
    }
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o7777;
    assert_eq!((mode(point.parent().unwrap()), mode(&point)), (0o755, 0o555));
    assert_eq!(fs::read_dir(run.path("workspace/remote")).unwrap().count(), 1, "no directory for ../x");
    let command_line = fs::read(process(&call).join("cmdline")).unwrap();
    assert!(!String::from_utf8_lossy(&command_line).contains("secret"));

    let second = Command::new(env!("CARGO_BIN_EXE_rclone-run"))
        .arg("--journal")
        .arg(run.path("boot.jsonl"))
        .output()
        .unwrap();
    assert_eq!(second.status.code(), Some(1), "it would detach the mounts");

    run.configure("my remote:\nother:\n../x:\n");
    run.wait_until("the other process", || run.calls().lines().count() == 2);
    assert!(process(&call).exists());
    run.configure("other:\n");
    run.wait_until("the end of the first", || !process(&call).exists());
    let other = process(run.calls().lines().last().unwrap());
    assert!(other.exists());
    run.stop();
    assert!(!other.exists());
    assert_eq!(run.log().matches("1 of the remotes are not mounted").count(), 1, "{}", run.log());
    assert!(point.exists(), "another container may have mounted there");
}

#[test]
fn a_process_that_fails_is_started_again_and_does_not_outlive_the_tool() {
    let mut run = Run::start("fails:\nlasts:\n", |_| {});
    run.wait_until("three attempts", || run.calls().matches("mount fails:").count() == 3);
    let calls = run.calls();
    let lasting = process(calls.lines().find(|call| call.starts_with("mount lasts:")).unwrap());
    assert_eq!(calls.matches("mount lasts:").count(), 1);
    run.child.kill().unwrap();
    run.wait_until("the end of rclone", || !lasting.exists());
}

#[test]
fn files_that_are_not_uploaded_delay_a_stop_and_are_named() {
    let write_pending = |directory: &Path, remote: &str| {
        let directory = directory.join("cache/vfsMeta").join(remote);
        fs::create_dir_all(&directory).unwrap();
        fs::write(directory.join("file"), r#"{"Dirty": true}"#).unwrap();
    };
    let mut run = Run::start("my:\nother:\n", |directory| write_pending(directory, "removed"));
    run.wait_until("the processes", || run.calls().lines().count() == 2);
    write_pending(run.directory.path(), "my");
    run.configure("other:\n");
    run.wait_for_requests(2);
    // Below the stopwaitsecs of base.d/rclone.conf, although a remote is being unmounted.
    assert!(run.stop() < Duration::from_secs(8));
    let log = run.log();
    assert_eq!(
        log.matches("warning: not uploaded yet: my/file; they are in RCLONE_CACHE_DIR").count(),
        1,
        "{log}"
    );
    assert!(!log.contains("removed/file"), "{log}");
}

#[test]
fn a_failure_is_logged_and_reported_once() {
    let run = Run::start("", |directory| fs::remove_file(directory.join("remotes")).unwrap());
    run.wait_for_requests(1);
    fs::write(run.path("rclone.conf"), "changed").unwrap();
    run.wait_for_requests(2);
    run.configure("my:\n");
    run.wait_until("the process", || run.calls().lines().count() == 1);
    assert_eq!(run.log().matches("error: rclone listremotes failed").count(), 1, "{}", run.log());
    let journal = fs::read_to_string(run.path("boot.jsonl")).unwrap();
    assert_eq!(journal.matches("cannot read the configured remotes").count(), 1, "{journal}");
}

#[test]
fn a_request_that_hangs_does_not_delay_a_stop() {
    let mut run = Run::start("my:\n", |directory| fs::write(directory.join("hang"), "").unwrap());
    run.wait_until("the request", || run.path("asked").exists());
    assert!(run.stop() < Duration::from_secs(8));
    assert_eq!(run.calls(), "");
}
