//! Programs that go on writing while their tree is copied and switched.

use std::collections::BTreeSet;
use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use trees::Shape;

use crate::fixture::{Running, Site, Worker, wait_for};

/// As busy as a busy log: some thousand writes a second.
fn pause() {
    thread::sleep(Duration::from_micros(200));
}

/// Ends the programs, also when the test fails.
struct Stopping<'a>(&'a AtomicBool);

impl Drop for Stopping<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Appends a line at a time and opens the file again for each, as shell scripts do.
fn append_by_path(tree: &Path, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let mut file = OpenOptions::new().append(true).create(true).open(tree.join("by-path.log")).unwrap();
        writeln!(file, "line {number}").unwrap();
        number += 1;
        pause();
    }
    number
}

/// Keeps its file open from before the copy, as servers do.
fn append_to_open_file(file: &mut File, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        writeln!(file, "line {number}").unwrap();
        number += 1;
        pause();
    }
    number
}

/// Makes files and never touches them again.
fn make_files(tree: &Path, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        let directory = tree.join(format!("made/{}", number / 100));
        let make = || -> std::io::Result<()> {
            fs::create_dir_all(&directory)?;
            fs::write(directory.join(format!("file-{number}")), format!("content {number}"))
        };
        // The switch may fall between the two: then the directory is in the other tree.
        make().or_else(|_| make()).unwrap();
        number += 1;
        pause();
    }
    number
}

/// Replaces one file by renaming another over it, as careful programs do.
fn replace(tree: &Path, stop: &AtomicBool) -> u64 {
    let mut number = 0;
    while !stop.load(Ordering::Relaxed) {
        fs::write(tree.join("state.new"), format!("{number}")).unwrap();
        // The switch may fall between the two: then the new file is in the other tree.
        if fs::rename(tree.join("state.new"), tree.join("state")).is_ok() {
            number += 1;
        }
        pause();
    }
    number - 1
}

#[track_caller]
fn has_all_lines(file: &Path, lines: u64) {
    let text = fs::read_to_string(file).unwrap();
    let found: BTreeSet<&str> = text.lines().collect();
    let missing: Vec<u64> =
        (0..lines).filter(|number| !found.contains(format!("line {number}").as_str())).collect();
    assert!(
        missing.is_empty(),
        "{} of {lines} lines are missing in {}: {:?}",
        missing.len(),
        file.display(),
        &missing[..missing.len().min(5)]
    );
}

#[test]
fn nothing_that_programs_write_during_copy_and_switch_is_missing() {
    let shape = Shape { files: 2_000, hard_linked: 200, links: 100, directories: 200, bytes: 20_000_000 };
    let site = Site::with(&shape, 9);
    let tree = site.active_link("micromamba");
    let stop = AtomicBool::new(false);
    let mut open = File::create(tree.join("open.log")).unwrap();
    let (by_path, by_file, made, state) = thread::scope(|scope| {
        let by_path = scope.spawn(|| append_by_path(&tree, &stop));
        let by_file = scope.spawn(|| append_to_open_file(&mut open, &stop));
        let made = scope.spawn(|| make_files(&tree, &stop));
        let state = scope.spawn(|| replace(&tree, &stop));
        let stopping = Stopping(&stop);
        let output = site.sync();
        drop(stopping);
        assert!(output.stderr.contains(" still write to the old tree; "), "{output:?}");
        assert_eq!(site.leads_to(), site.copy());
        (by_path.join().unwrap(), by_file.join().unwrap(), made.join().unwrap(), state.join().unwrap())
    });
    drop(open);
    assert!(by_path > 10 && by_file > 10 && made > 10 && state > 10, "the programs must have written");
    // The supervised follower, once the last program has closed its files.
    assert_eq!(site.run(&["follow"]).code, 0);
    has_all_lines(&tree.join("by-path.log"), by_path);
    has_all_lines(&tree.join("open.log"), by_file);
    let missing: Vec<PathBuf> = (0..made)
        .map(|number| tree.join(format!("made/{}/file-{number}", number / 100)))
        .filter(|file| !file.exists())
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
    assert_eq!(fs::read_to_string(tree.join("state")).unwrap(), state.to_string());
    let status = site.run(&["status", "--json"]).stdout;
    assert!(status.contains("\"settling\":false"), "{status}");
}

#[test]
fn what_was_removed_in_the_old_tree_after_the_copy_is_removed_and_what_is_new_in_the_copy_stays() {
    let site = Site::small();
    let (image, tree) = (site.image("micromamba"), site.active_link("micromamba"));
    fs::create_dir(image.join("cache")).unwrap();
    fs::write(image.join("cache/stale"), "x").unwrap();
    fs::write(image.join("cache/kept"), "x").unwrap();
    // A program works in the old tree, so that it is followed.
    let mut holder = std::process::Command::new("sh")
        .args(["-c", "read line"])
        .current_dir(image.join("cache"))
        .stdin(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    site.sync();
    fs::remove_file(image.join("cache/stale")).unwrap();
    fs::write(image.join("cache/late"), "late").unwrap();
    fs::write(tree.join("cache/new"), "new").unwrap();
    fs::create_dir(tree.join("cache/empty")).unwrap();
    drop(holder.stdin.take());
    holder.wait().unwrap();
    assert_eq!(site.run(&["follow"]).code, 0);
    let mut names: Vec<String> = fs::read_dir(tree.join("cache"))
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    names.sort();
    assert_eq!(names, ["empty", "kept", "late", "new"]);
}

#[test]
fn what_was_carried_over_before_is_not_taken_for_somebody_elses_work() {
    let site = Site::small();
    let (image, tree) = (site.image("micromamba"), site.active_link("micromamba"));
    fs::write(image.join("state.db"), "0\0\0").unwrap();
    fs::write(image.join("state.json"), "{\n\"a\": 0\n}\n").unwrap();
    let worker = Worker::at(&image);
    let write = |version: u8| {
        fs::write(image.join("state.db"), [version, 0, 0]).unwrap();
        fs::write(image.join("state.json"), format!("{{\n\"a\": {version}\n}}\n")).unwrap();
    };
    site.sync();
    for version in 1..3_u8 {
        write(version);
        // Each time another process, as after a restart of the follower.
        let follower = Running::start(&mut site.command(&["follow"]));
        wait_for(&tree.join("state.db"), &[version, 0, 0]);
        wait_for(&tree.join("state.json"), format!("{{\n\"a\": {version}\n}}\n").as_bytes());
        follower.stop();
    }
    drop(worker);
    assert_eq!(site.run(&["follow"]).code, 0);
    assert!(!tree.join("state.db.before-switch").exists());
    assert_eq!(fs::read(tree.join("state.db")).unwrap(), [2, 0, 0]);
}

#[test]
fn while_the_follower_waits_other_commands_have_their_turn() {
    let site = Site::small();
    let worker = Worker::at(&site.image("micromamba"));
    site.sync();
    let follower = Running::start(&mut site.command(&["follow"]));
    fs::write(site.image("micromamba").join("late"), "1").unwrap();
    wait_for(&site.copy().join("late"), b"1");
    let output = site.run(&["run"]);
    drop(worker);
    assert_eq!(output.code, 0, "{output:?}");
    follower.ends_well();
}

#[test]
fn a_follower_that_fails_goes_on_once_the_volume_is_back() {
    let site = Site::small();
    let worker = Worker::at(&site.image("micromamba"));
    site.sync();
    let away = site.root().join("away");
    fs::rename(site.copy(), &away).unwrap();
    let mut follower = site.command(&["follow"]).stderr(std::process::Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    let mut told = std::io::BufReader::new(follower.stderr.take().unwrap());
    std::io::BufRead::read_line(&mut told, &mut line).unwrap();
    assert!(line.starts_with("workspace-sync: warning: micromamba: cannot open "), "{line}");
    fs::rename(&away, site.copy()).unwrap();
    fs::write(site.image("micromamba").join("late"), "1").unwrap();
    drop(worker);
    assert!(follower.wait().unwrap().success());
    assert_eq!(fs::read_to_string(site.copy().join("late")).unwrap(), "1");
}

#[test]
fn what_was_kept_beside_earlier_and_what_leads_elsewhere_now_stays() {
    let site = Site::small();
    let (image, tree) = (site.image("micromamba"), site.active_link("micromamba"));
    fs::create_dir(image.join("models")).unwrap();
    fs::write(image.join("models/one"), "1").unwrap();
    fs::write(image.join("state.db"), "0\0\0").unwrap();
    fs::write(image.join("state.db.before-switch"), "from another time").unwrap();
    let worker = Worker::at(&image);
    site.sync();
    // The user moves a directory to a larger disk. The follower begins afterwards: between the two steps, it could
    // bring the directory back.
    let disk = site.root().join("disk");
    fs::rename(tree.join("models"), &disk).unwrap();
    std::os::unix::fs::symlink(&disk, tree.join("models")).unwrap();
    fs::write(tree.join("state.db"), "2\0\0").unwrap();
    fs::write(image.join("models/one"), "late").unwrap();
    fs::write(image.join("state.db"), "1\0\0").unwrap();
    fs::write(image.join("zz-last"), "late").unwrap();
    let follower = Running::start(&mut site.command(&["follow"]));
    wait_for(&tree.join("zz-last"), b"late");
    drop(worker);
    follower.ends_well();
    assert_eq!(fs::read(tree.join("state.db")).unwrap(), b"2\0\0");
    assert_eq!(fs::read_to_string(tree.join("state.db.before-switch")).unwrap(), "from another time");
    assert_eq!(fs::read(tree.join("state.db.2.before-switch")).unwrap(), b"1\0\0");
    assert!(!tree.join("state.db.3.before-switch").exists());
    assert_eq!(fs::read_to_string(disk.join("one")).unwrap(), "1");
    assert_eq!(fs::read_to_string(tree.join("models.before-switch/one")).unwrap(), "late");
    let journal = fs::read_to_string(site.root().join("boot.jsonl")).unwrap();
    assert_eq!(journal.matches("state.db.2.before-switch").count(), 1, "{journal}");
}

#[test]
fn a_document_that_was_saved_in_both_trees_gets_no_lines_of_the_other() {
    let site = Site::small();
    let (image, tree) = (site.image("micromamba"), site.active_link("micromamba"));
    fs::write(image.join("settings.json"), "{\n\"a\": 0\n}\n").unwrap();
    let worker = Worker::at(&image);
    site.sync();
    fs::write(image.join("settings.json"), "{\n\"a\": 1\n}\n").unwrap();
    fs::write(tree.join("settings.new"), "{\n\"a\": 2\n}\n").unwrap();
    fs::rename(tree.join("settings.new"), tree.join("settings.json")).unwrap();
    drop(worker);
    assert_eq!(site.run(&["follow"]).code, 0);
    assert_eq!(fs::read_to_string(tree.join("settings.json")).unwrap(), "{\n\"a\": 2\n}\n");
    assert_eq!(fs::read_to_string(tree.join("settings.json.before-switch")).unwrap(), "{\n\"a\": 1\n}\n");
}

#[test]
fn a_log_that_begins_anew_after_it_was_carried_over_is_carried_over_from_its_beginning() {
    let site = Site::small();
    let (image, tree) = (site.image("micromamba"), site.active_link("micromamba"));
    for name in ["cut.log", "renamed.log"] {
        fs::write(image.join(name), "one\n").unwrap();
    }
    let worker = Worker::at(&image);
    site.sync();
    let add = |tree: &Path, name: &str, line: &str| {
        OpenOptions::new().append(true).open(tree.join(name)).unwrap().write_all(line.as_bytes()).unwrap();
    };
    let follow = |last: &str| {
        fs::write(image.join("zz-last"), last).unwrap();
        let follower = Running::start(&mut site.command(&["follow"]));
        wait_for(&tree.join("zz-last"), last.as_bytes());
        follower.stop();
    };
    for name in ["cut.log", "renamed.log"] {
        add(&tree, name, "two, in the copy\n");
        add(&image, name, "two, in the image\n");
    }
    follow("1");
    fs::write(image.join("cut.log"), "3\n").unwrap();
    fs::rename(image.join("renamed.log"), image.join("renamed.log.1")).unwrap();
    fs::write(image.join("renamed.log"), "three, in a longer log than the old one\n").unwrap();
    follow("2");
    drop(worker);
    let read = |name: &str| fs::read_to_string(tree.join(name)).unwrap();
    assert_eq!(read("cut.log"), "one\ntwo, in the copy\ntwo, in the image\n3\n");
    assert_eq!(
        read("renamed.log"),
        "one\ntwo, in the copy\ntwo, in the image\nthree, in a longer log than the old one\n"
    );
}
