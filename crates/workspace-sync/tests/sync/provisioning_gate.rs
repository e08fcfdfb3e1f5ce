//! The switch and provisioning: when it comes, and that nothing of what a script did meanwhile is missing.

use std::fs;
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use journal::{Event, Journal, Stage};
use trees::{Random, Shape};

use crate::fixture::{CommandOutput, Site, Worker, wait_for};

const LONG: Duration = Duration::from_mins(1);
/// Nothing is quiet for so long.
const NEVER: &str = "360000000";
/// The first looks come after 1, 2 and 4 seconds, and nothing is quiet for long enough meanwhile.
const LATER: &str = "60000";
/// No test waits for that long.
const SOON: &str = "300";

fn start(site: &Site, quiet_after: &str) -> Child {
    let mut command = site.command(&["run", "--quiet-after", quiet_after]);
    command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

fn provisioning(site: &Site) {
    fs::write(site.provisioning(), "").unwrap();
}

fn is_waiting(partial: &Path) -> bool {
    fs::read_to_string(partial.join(".sync_partial")).is_ok_and(|claim| claim.contains("\"waiting\":true"))
}

#[track_caller]
fn wait_until(what: &str, is_so: impl Fn() -> bool) {
    kit::wait::until(LONG, what, || is_so().then_some(())).unwrap();
}

#[track_caller]
fn ends_well(run: Child) -> CommandOutput {
    let output = CommandOutput::of(run.wait_with_output().unwrap());
    assert_eq!(output.code, 0, "{output:?}");
    output
}

/// Returns the reasons why `app` is not on the workspace, as they are known at this moment.
fn told(site: &Site) -> Vec<String> {
    let mut told = Vec::new();
    for entry in Journal::new(&site.root().join("boot.jsonl")).read().unwrap() {
        match entry.event {
            Event::SyncNote { tree, message, pending: true } if tree == "app" => told = vec![message],
            Event::SyncSwitched { tree } if tree == "app" => told.clear(),
            _ => {}
        }
    }
    told
}

/// An image with `app` as a second tree.
fn with_app() -> Site {
    let mut site = Site::small();
    site.set("OPT_SYNC", "app");
    fs::create_dir(site.image("app")).unwrap();
    fs::write(site.image("app").join("server"), "1").unwrap();
    symlink(site.image("app"), site.active_link("app")).unwrap();
    site
}

/// Writes like `pip install`.
fn install(root: &Path, number: u64) {
    let package = root.join(format!("site-packages/package{number}"));
    fs::create_dir_all(package.join("inner")).unwrap();
    for file in ["__init__.py", "inner/code.so"] {
        fs::write(package.join(file), format!("{number} {file}").repeat(40)).unwrap();
    }
    let record = root.join("site-packages/RECORD");
    let mut record = fs::File::options().create(true).append(true).open(record).unwrap();
    writeln!(record, "package{number}").unwrap();
    // A script is replaced by a rename.
    fs::write(root.join("pip.new"), format!("#!/bin/sh\n# {number}\n")).unwrap();
    fs::set_permissions(root.join("pip.new"), fs::Permissions::from_mode(0o755)).unwrap();
    fs::rename(root.join("pip.new"), root.join("pip")).unwrap();
    let _ = fs::remove_dir_all(root.join(format!("site-packages/package{}/inner", number.wrapping_sub(2))));
}

#[test]
fn the_switch_comes_after_provisioning_with_all_that_it_installed() {
    let site = Site::small();
    let image = site.image("micromamba");
    provisioning(&site);
    install(&image, 0);
    let run = start(&site, NEVER);
    // Also while the first pass is made.
    (1..40).for_each(|number| install(&site.active_link("micromamba"), number));
    wait_until("the copy", || is_waiting(&site.partial()));
    assert_eq!((site.leads_to(), site.status()["state"].as_str()), (image.clone(), Some("waiting")));
    let note = Event::StageNote {
        stage: Stage::Sync,
        message: "micromamba: copied, waiting for provisioning to end".into(),
    };
    let journal = Journal::new(&site.root().join("boot.jsonl"));
    wait_until("the note", || journal.read().unwrap().last().is_some_and(|entry| entry.event == note));
    (40..60).for_each(|number| install(&site.active_link("micromamba"), number));
    assert_eq!(site.leads_to(), image);
    // On success, failure or a stop, late boot removes the marker.
    fs::remove_file(site.provisioning()).unwrap();
    ends_well(run);
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(site.copy_differs_from(&image), [""; 0]);
}

#[test]
fn a_script_that_never_ends_does_not_keep_a_quiet_tree_from_its_switch() {
    let site = Site::small();
    provisioning(&site);
    ends_well(start(&site, SOON));
    assert_eq!(site.leads_to(), site.copy());
    assert!(site.provisioning().exists());
}

#[test]
fn a_tree_that_is_written_all_the_time_is_followed_and_switched_once_that_ends() {
    let site = with_app();
    let (log, ended) = (site.image("app").join("log"), AtomicBool::new(false));
    let copied = site.volume().join("app.partial/log");
    provisioning(&site);
    let run = thread::scope(|scope| {
        scope.spawn(|| {
            let mut file = fs::File::create(&log).unwrap();
            while !ended.load(Ordering::Relaxed) {
                file.write_all(b"line\n").unwrap();
                // Only so that the file stays small.
                thread::sleep(Duration::from_millis(1));
            }
        });
        let mut run = start(&site, SOON);
        // The other tree does not wait for this one.
        wait_until("the switch of the quiet tree", || site.leads_to() == site.copy());
        let length = || fs::metadata(&copied).map_or(0, |meta| meta.len());
        for _ in 0..3 {
            let before = length();
            wait_until("another pass", || length() > before);
        }
        let is_told = || told(&site).iter().any(|note| note.contains("/log keeps changing; "));
        let is_told = kit::wait::until(LONG, "the note", || is_told().then_some(()));
        let is_running = is_told.is_ok() && run.try_wait().unwrap().is_none();
        ended.store(true, Ordering::Relaxed);
        assert!(is_running && fs::read_link(site.active_link("app")).unwrap() == site.image("app"));
        run
    });
    ends_well(run);
    assert_eq!(told(&site), [""; 0], "the note is history");
    assert_eq!(fs::read_link(site.active_link("app")).unwrap(), site.volume().join("app"));
    let read = |root: PathBuf| fs::read(root.join("log")).unwrap();
    assert!(read(site.volume().join("app")) == read(site.image("app")));
    assert!(site.provisioning().exists());
}

#[test]
fn every_tree_is_copied_before_one_waits() {
    let site = with_app();
    provisioning(&site);
    let run = start(&site, NEVER);
    wait_until("both copies", || {
        is_waiting(&site.partial()) && is_waiting(&site.volume().join("app.partial"))
    });
    fs::remove_file(site.provisioning()).unwrap();
    let output = ends_well(run);
    assert_eq!(output.stdout.matches(": copied to ").count(), 2, "{output:?}");
}

#[test]
fn a_tree_that_fails_while_another_waits_is_told_and_retried_at_once() {
    let site = with_app();
    let partial = site.volume().join("app.partial");
    fs::create_dir(&partial).unwrap();
    fs::write(partial.join(".sync_partial"), crate::fixture::claim_of("other").replace("micromamba", "app"))
        .unwrap();
    provisioning(&site);
    let mut run = site.command(&["run", "--quiet-after", LATER, "--retry-after", "20"]);
    let run = run.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait_until("the note", || {
        told(&site)
            .iter()
            .any(|note| note.contains("; meanwhile, ") && note.contains(" is currently creating "))
    });
    // The other container gives it up.
    fs::remove_dir_all(&partial).unwrap();
    wait_until("the copy", || is_waiting(&partial));
    fs::remove_file(site.provisioning()).unwrap();
    let output = ends_well(run);
    assert_eq!(output.stdout.matches(": copied to ").count(), 2, "{output:?}");
    assert_eq!(told(&site), [""; 0], "the note is history");
}

#[test]
fn what_is_written_to_a_tree_after_its_switch_is_carried_over_while_another_waits() {
    let site = with_app();
    let worker = Worker::at(&site.image("app"));
    site.sync();
    fs::remove_file(site.active_link("micromamba")).unwrap();
    symlink(site.image("micromamba"), site.active_link("micromamba")).unwrap();
    fs::remove_dir_all(site.copy()).unwrap();
    provisioning(&site);
    let run = start(&site, LATER);
    wait_until("the copy", || is_waiting(&site.partial()));
    fs::write(site.image("app").join("late"), "late").unwrap();
    wait_for(&site.volume().join("app/late"), b"late");
    fs::remove_file(site.provisioning()).unwrap();
    ends_well(run);
    drop(worker);
}

#[test]
fn a_stop_while_the_switch_waits_leaves_a_copy_that_the_next_start_goes_on_with() {
    let site = Site::small();
    let image = site.image("micromamba");
    fs::write(image.join("library"), "of the image").unwrap();
    provisioning(&site);
    let mut run = start(&site, NEVER);
    wait_until("the copy", || is_waiting(&site.partial()));
    let inode = fs::metadata(site.partial().join("library")).unwrap().ino();
    let asked = Command::new("kill").arg(run.id().to_string()).status();
    assert!(asked.unwrap().success());
    assert_eq!(run.wait().unwrap().signal(), Some(15));
    assert_eq!((site.leads_to(), site.copy().exists()), (image.clone(), false));
    install(&image, 0);
    fs::remove_file(site.provisioning()).unwrap();
    site.sync();
    assert_eq!(site.copy_differs_from(&image), [""; 0]);
    assert_eq!(fs::metadata(site.copy().join("library")).unwrap().ino(), inode, "it is not copied again");
}

#[test]
fn fifty_kills_at_random_moments_lose_nothing_that_was_installed_meanwhile() {
    let shape = Shape { files: 300, hard_linked: 40, links: 20, directories: 30, bytes: 2_000_000 };
    let site = Site::in_memory(&shape, 9);
    let (image, active_link) = (site.image("micromamba"), site.active_link("micromamba"));
    let (mut waited, mut switched, mut number) = (0, 0, 0);
    // More where none fell behind the switch.
    let mut seed = 0_u64;
    while seed < 50 || switched == 0 {
        assert!(seed < 500, "one kill must fall behind the switch");
        let _ = fs::remove_file(&active_link);
        symlink(&image, &active_link).unwrap();
        let _ = fs::remove_dir_all(site.root().join("memory"));
        fs::remove_dir_all(site.volume()).unwrap();
        fs::create_dir(site.volume()).unwrap();
        provisioning(&site);
        let mut random = Random::new(seed);
        let mut run = site.command(&["run", "--quiet", "--quiet-after", NEVER]);
        let mut run = run.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
        // A script of a few packages; the kill comes at any moment of it, or of the switch.
        for _ in 0..random.below(6) {
            install(&active_link, number);
            number += 1;
        }
        if random.below(3) > 0 {
            wait_until("the copy", || is_waiting(&site.partial()));
            waited += 1;
            install(&active_link, number);
            number += 1;
        }
        if random.below(2) > 0 {
            fs::remove_file(site.provisioning()).unwrap();
        }
        // The moment of the kill is what is tested; nothing is waited for.
        thread::sleep(Duration::from_micros(random.below(400_000)));
        run.kill().unwrap();
        run.wait().unwrap();
        let is_switched = site.leads_to() == site.copy();
        switched += u32::from(is_switched);
        assert!(is_switched || site.leads_to() == image, "seed {seed}");
        let _ = fs::remove_file(site.provisioning());
        site.sync();
        assert_eq!(site.leads_to(), site.copy(), "seed {seed}");
        assert_eq!(site.copy_differs_from(&image), [""; 0], "seed {seed}");
        seed += 1;
    }
    println!("seeds from 0: {waited} kills came while the switch waited or later, {switched} after it");
    assert!(waited > 0 && switched > 0);
}
