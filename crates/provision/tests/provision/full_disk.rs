//! Disks that fill up while a script runs.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use provision::ReportOutcome::{Failed, Ran, Unchanged};

use crate::fixture::{Machine, parse_output};

/// A file system of a size, in a directory, until this is dropped.
struct Room(PathBuf);

impl Room {
    fn mount(at: &Path, kilobytes: u32) -> Self {
        fs::create_dir_all(at).unwrap();
        let size = format!("size={kilobytes}k,mode=755");
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(at).status();
        assert!(mounted.unwrap().success());
        Self(at.to_owned())
    }

    fn fill(&self) {
        let _ = fs::write(self.0.join("filler"), vec![0; 4_000_000]);
    }

    fn empty(&self) {
        fs::remove_file(self.0.join("filler")).unwrap();
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}

#[test]
fn a_full_disk_under_the_log_loses_output_which_is_reported_and_the_script_continues() {
    let mut machine = Machine::new();
    machine.log_file = "logs/provisioning.log";
    let _room = Room::mount(&machine.path("logs"), 256);
    machine.mount("echo first; seq 100000; echo ran > $WORKSPACE/ran");
    let result = machine.run();
    assert_eq!((result.report.outcome, machine.read("work/ran").as_str()), (Ran, "ran\n"));
    let (cause, hint) = (result.report.cause.unwrap(), result.report.hint.unwrap());
    assert!(
        cause.contains(" of output could not be written to ")
            && cause.ends_with("No space left on device (os error 28)"),
        "{cause}"
    );
    assert_eq!(hint, "free up disk space; see: df -h");
    assert!(machine.read("logs/provisioning.log").contains("Z first\n"));
    assert_eq!(machine.status()["state"], "exited successfully");
}

#[test]
fn an_end_is_noted_although_the_script_has_filled_the_disk() {
    let machine = Machine::new();
    let room = Room::mount(&machine.path("state"), 256);
    machine.mount("echo x >> $WORKSPACE/ran; until test -e $WORKSPACE/go; do sleep 0.01; done");
    let mut command = machine.command(&["run", "--json"]);
    let child = command.stdout(std::process::Stdio::piped()).spawn().unwrap();
    crate::fixture::until("the script", || machine.read("work/ran") == "x\n");
    room.fill();
    fs::write(machine.path("work/go"), "").unwrap();
    let first = parse_output(&child.wait_with_output().unwrap());
    assert_eq!((first.report.outcome, first.report.cause), (Ran, None));
    assert_eq!(machine.status()["state"], "exited successfully");
    assert_eq!(machine.run().report.outcome, Unchanged);
    assert_eq!(machine.read("work/ran"), "x\n");
}

#[test]
fn a_script_that_fails_because_the_disk_is_full_is_noted_with_the_reason() {
    let machine = Machine::new();
    let room = Room::mount(&machine.path("state"), 256);
    let full = machine.path("state/more").display().to_string();
    let _writable = Command::new("chmod").arg("777").arg(machine.path("state")).status().unwrap();
    machine.mount(format!("set -e; head -c 1000000 /dev/zero > {full}; echo not reached"));
    let result = machine.run();
    assert_eq!(
        (result.report.outcome, result.report.cause.as_deref()),
        (Failed, Some("the script failed with exit code 1"))
    );
    assert_eq!(
        result.report.last_line.as_deref(),
        Some("head: error writing 'standard output': No space left on device")
    );
    let status = machine.status();
    assert_eq!(status["state"], "failed; it is retried at the next start");
    assert_eq!(
        (status["cause"].as_str(), status["exit code"].as_str()),
        ("the script failed with exit code 1", "1")
    );
    drop(room);
}

#[test]
fn a_disk_that_is_full_before_it_begins_runs_nothing_and_names_the_file() {
    let machine = Machine::new();
    let room = Room::mount(&machine.path("state"), 256);
    machine.mount("echo x >> $WORKSPACE/ran");
    room.fill();
    let result = machine.run();
    let script = machine.path("state/script.sh").display().to_string();
    let cause = format!("cannot write {script}: No space left on device (os error 28)");
    assert_eq!((result.report.outcome, result.report.cause), (Failed, Some(cause)));
    let hint = "check for a full disk: df -h; then run: supervisorctl restart boot";
    assert_eq!((result.report.hint.as_deref(), machine.read("work/ran").as_str()), (Some(hint), ""));
    room.empty();
    assert_eq!(machine.run().report.outcome, Ran);
}
