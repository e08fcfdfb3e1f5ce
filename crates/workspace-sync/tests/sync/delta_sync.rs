//! Carrying over on a volume that fails, and after a kill: what is not on the disk is not forgotten.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::time::Duration;

use faultfs::{Fault, FaultFs, Pattern};
use serde_json::Value;

use crate::fixture::{Running, Site, Worker, start};

/// A container whose programs use the copy, and one still the old tree; dropped in this order.
struct Switched {
    worker: Option<Worker>,
    volume: FaultFs,
    site: Site,
}

impl Switched {
    fn new() -> Self {
        let site = Site::small();
        let backing = site.root().join("backing");
        fs::create_dir(&backing).unwrap();
        let volume = FaultFs::mount(&backing, &site.volume()).unwrap();
        fs::write(site.image("micromamba").join("log"), "line\n".repeat(200)).unwrap();
        fs::create_dir(site.image("micromamba").join("shut")).unwrap();
        fs::write(site.image("micromamba").join("shut/kept"), "kept").unwrap();
        let worker = Some(Worker::at(&site.image("micromamba")));
        site.sync();
        Self { worker, volume, site }
    }

    fn image(&self, name: &str) -> PathBuf {
        self.site.image("micromamba").join(name)
    }

    /// Runs the tool, which must report its result.
    #[track_caller]
    fn run(&self) -> Value {
        let output = self.site.run(&["run", "--json"]);
        assert_eq!(output.code, 0, "the copy is in use: {output:?}");
        serde_json::from_str(&output.stdout).unwrap()
    }
}

#[test]
fn a_file_that_cannot_be_carried_over_keeps_no_other_from_it_and_is_tried_again() {
    let mut switched = Switched::new();
    for name in ["early", "zz-late"] {
        fs::write(switched.image(name), name).unwrap();
    }
    fs::write(switched.image("log"), "line\n".repeat(400)).unwrap();
    switched.volume.inject(Fault::WriteError { byte: 1_500, files: Pattern::new("*/log") });
    switched.worker = None;
    let report = switched.run();
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.starts_with("not all changes of the image's copy have been copied yet: "), "{cause}");
    assert!(cause.contains("/log: Input/output error"), "{cause}");
    assert_eq!((&report["settling"], &report["in_use"]), (&Value::from(true), &Value::from("workspace")));
    for name in ["early", "zz-late"] {
        assert_eq!(fs::read_to_string(switched.site.copy().join(name)).unwrap(), name);
    }
    switched.volume.clear();
    assert_eq!(switched.site.run(&["follow"]).code, 0);
    assert_eq!(fs::read_to_string(switched.site.copy().join("log")).unwrap(), "line\n".repeat(400));
    assert_eq!(switched.run()["settling"], Value::Null);
}

#[test]
fn what_is_not_on_the_disk_is_not_forgotten() {
    let mut switched = Switched::new();
    fs::write(switched.image("late"), "late").unwrap();
    switched.worker = None;
    // The copy's root alone: a file that cannot be forced to the disk would not be there at all.
    switched.volume.inject(Fault::SyncError { files: Pattern::new("environments/micromamba-base-image") });
    let report = switched.run();
    assert!(report["cause"].as_str().unwrap().contains("cannot force "), "{report}");
    assert_eq!(report["settling"], Value::from(true));
    switched.volume.clear();
    // As after a power cut.
    fs::remove_file(switched.site.copy().join("late")).unwrap();
    assert_eq!(switched.run()["settling"], Value::Null);
    assert_eq!(fs::read_to_string(switched.site.copy().join("late")).unwrap(), "late");
}

#[test]
fn what_cannot_be_read_any_more_is_not_removed_from_the_copy() {
    let mut switched = Switched::new();
    let directory = switched.image("shut");
    // Its names can be listed, and nothing behind them can be reached.
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o600)).unwrap();
    let output = switched.site.run_without_override();
    assert!(output.stdout.contains("Permission denied"), "{output:?}");
    assert_eq!(fs::read_to_string(switched.site.copy().join("shut/kept")).unwrap(), "kept");
    fs::set_permissions(&directory, fs::Permissions::from_mode(0o700)).unwrap();
    switched.worker = None;
    assert_eq!(switched.run()["settling"], Value::Null);
}

fn half_made(switched: &Switched) -> Option<PathBuf> {
    let mut entries =
        fs::read_dir(switched.site.root().join("backing/environments/micromamba-base-image")).unwrap();
    entries.find_map(|entry| {
        let entry = entry.unwrap();
        entry.file_name().to_str().unwrap().starts_with(".tree-copy.").then(|| entry.path())
    })
}

#[test]
fn what_a_killed_follower_had_half_made_goes() {
    let mut switched = Switched::new();
    switched.volume.inject(Fault::Slow(Duration::from_millis(5)));
    fs::write(switched.image("large"), vec![7; 32 << 20]).unwrap();
    let follower = Running::start(&mut switched.site.command(&["follow"]));
    let seen = kit::wait::until(Duration::from_mins(1), "the follower", || half_made(&switched));
    drop(follower);
    assert!(seen.unwrap().exists(), "the kill must fall into the copy");
    switched.volume.clear();
    switched.worker = None;
    assert_eq!(switched.site.run(&["follow"]).code, 0);
    assert_eq!(fs::read(switched.site.copy().join("large")).unwrap().len(), 32 << 20);
    assert_eq!(half_made(&switched), None);
}

/// Another start of any container, as it is in names.
const START: &str = "000000000000000000000000000000000000000000000000";

#[test]
fn what_an_earlier_start_had_half_made_goes_when_it_is_old_enough_whatever_is_carried_over() {
    let mut switched = Switched::new();
    let container = fs::read_to_string(switched.site.root().join("memory/container")).unwrap();
    let deep = switched.site.copy().join("made/by/the/user");
    fs::create_dir_all(&deep).unwrap();
    let earlier = deep.join(format!(".tree-copy.{START}-7-0-{container}.tmp"));
    let foreign = deep.join(format!(".tree-copy.{START}-7-0-c0.tmp"));
    for half in [&earlier, &foreign] {
        fs::create_dir(half).unwrap();
        fs::write(half.join("file"), "half").unwrap();
    }
    switched.run();
    assert!(earlier.exists(), "a container that was saved with this one's name may be making it");
    switched.worker = None;
    assert_eq!(switched.run()["settling"], Value::Null);
    switched.volume.inject(Fault::Aged { seconds: 3_600, files: Pattern::new("*/.tree-copy.0000*") });
    switched.run();
    assert!(!earlier.exists());
    assert!(foreign.join("file").exists(), "another container gets a day");
}

#[test]
fn what_was_installed_before_a_restart_is_in_the_copy_that_another_container_made_meanwhile() {
    let site = Site::small();
    start(&site);
    assert_eq!(site.leads_to(), site.image("micromamba"));
    // The copy of another container, with a memory of its own.
    let (memory, aside) = (site.root().join("memory"), site.root().join("aside"));
    fs::rename(&memory, &aside).unwrap();
    site.sync();
    fs::remove_dir_all(&memory).unwrap();
    fs::rename(&aside, &memory).unwrap();
    fs::remove_file(site.active_link("micromamba")).unwrap();
    std::os::unix::fs::symlink(site.image("micromamba"), site.active_link("micromamba")).unwrap();
    fs::write(site.active_link("micromamba").join("installed"), "mine").unwrap();
    start(&site);
    assert_eq!(site.leads_to(), site.copy());
    site.sync();
    assert_eq!(fs::read_to_string(site.copy().join("installed")).unwrap(), "mine");
}
