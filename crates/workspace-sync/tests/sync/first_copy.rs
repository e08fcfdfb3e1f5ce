//! The first copy, and what is done where none is wanted or possible.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, symlink};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use journal::{Event, Journal, Stage, StageResult, Timeline};

use crate::fixture::{Failing, Site, differences};

#[test]
fn a_first_run_copies_everything_switches_and_leaves_the_image_alone() {
    let site = Site::small();
    let image = site.image("micromamba");
    let before = site.root().join("before");
    assert!(std::process::Command::new("cp").arg("-a").args([&image, &before]).status().unwrap().success());
    let output = site.sync();
    assert_eq!(output.stdout, format!("micromamba: copied to {}, now in use\n", site.copy().display()));
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(site.copy_differs_from(&image), [""; 0]);
    assert_eq!(trees::difference(&before, &image), [""; 0]);
    assert!(!site.partial().exists());

    let marker = fs::read(site.copy().join(".move_complete")).unwrap();
    let again = site.sync();
    assert_eq!(again.stdout, format!("micromamba: {} is in use\n", site.copy().display()));
    assert_eq!(fs::read(site.copy().join(".move_complete")).unwrap(), marker, "nothing was copied again");
}

#[test]
fn commands_without_steps_take_no_dry_run() {
    let site = Site::small();
    for command in ["snapshot", "follow", "status", "verify"] {
        let output = site.run(&[command, "--dry-run"]);
        assert_eq!(output.code, 2, "{command}: {output:?}");
    }
    assert!(!site.root().join("memory").exists());
}

#[test]
fn a_dry_run_prints_the_steps_of_the_real_run_and_takes_none() {
    let site = Site::small();
    let output = site.run(&["run", "--dry-run"]);
    let (image, copy, active_link) = (site.image("micromamba"), site.copy(), site.active_link("micromamba"));
    let (image, copy, active_link) = (image.display(), copy.display(), active_link.display());
    assert_eq!(
        output.stdout,
        format!(
            "micromamba: copy {image} to {copy}\n\
             micromamba: point {active_link} to {copy}\n\
             micromamba: copy changes from {image} to {copy}\n"
        )
    );
    assert_eq!(fs::read_dir(site.volume()).unwrap().count(), 0);
    let output = site.run(&["run", "--dry-run", "--json"]);
    let first: serde_json::Value = serde_json::from_str(output.stdout.lines().next().unwrap()).unwrap();
    assert_eq!(first, serde_json::json!({ "tree": "micromamba", "step": format!("copy {image} to {copy}") }));
}

#[test]
fn nothing_is_copied_unless_it_is_wanted_and_there_is_a_volume() {
    let mut site = Site::small();
    for (name, value, reason) in [
        ("WORKSPACE_SYNC", "false", ""),
        ("WORKSPACE_SYNC", "", ""),
        ("WORKSPACE_SYNC", "flase", ""),
        ("WORKSPACE_MOUNTED", "false", ": no volume is mounted at the workspace"),
    ] {
        site.set("WORKSPACE_SYNC", "true");
        site.set(name, value);
        let output = site.sync();
        assert_eq!(output.stdout, format!("micromamba: using the image's copy{reason}\n"), "{name}={value}");
        assert_eq!(fs::read_dir(site.volume()).unwrap().count(), 0);
    }
}

#[test]
fn a_copy_from_earlier_is_used_by_a_new_container_that_does_not_ask_for_one() {
    let mut site = Site::small();
    site.sync();
    fs::write(site.copy().join("mine"), "later work").unwrap();
    // A new container: its own /opt and no memory.
    fs::remove_file(site.active_link("micromamba")).unwrap();
    symlink(site.image("micromamba"), site.active_link("micromamba")).unwrap();
    site.forget();
    site.set("WORKSPACE_SYNC", "false");
    site.sync();
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(fs::read_to_string(site.active_link("micromamba").join("mine")).unwrap(), "later work");
}

#[test]
fn a_volume_that_refuses_root_is_no_failure_unless_a_copy_is_wanted() {
    let mut site = Site::small();
    chown(site.volume(), Some(1000), Some(1000)).unwrap();
    fs::set_permissions(site.volume(), fs::Permissions::from_mode(0o700)).unwrap();
    for (wanted, code, words) in
        [("false", 0, "micromamba: using the image's copy\n"), ("true", 1, "cannot open")]
    {
        site.set("WORKSPACE_SYNC", wanted);
        let output = site.run_without_override();
        assert_eq!(output.code, code, "{output:?}");
        assert!(output.stdout.contains(words), "{output:?}");
    }
}

#[test]
fn without_its_volume_the_active_link_returns_to_the_image() {
    let mut site = Site::small();
    site.sync();
    fs::remove_dir_all(site.volume()).unwrap();
    fs::create_dir(site.volume()).unwrap();
    site.set("WORKSPACE_MOUNTED", "false");
    site.sync();
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

/// A directory of an extended image.
fn with_a_directory() -> (Site, PathBuf) {
    let mut site = Site::small();
    let app = site.active_link("app");
    let shape = trees::Shape { files: 20, hard_linked: 2, links: 2, directories: 4, bytes: 9_000 };
    trees::build(&app, &shape, 3).unwrap();
    site.set("OPT_SYNC", "app");
    (site, app)
}

#[test]
fn a_directory_of_an_extended_image_is_copied_and_replaced_by_a_link() {
    let (site, app) = with_a_directory();
    let before = site.root().join("before");
    assert!(std::process::Command::new("cp").arg("-a").args([&app, &before]).status().unwrap().success());
    site.sync();
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
    assert_eq!(differences(&before, &site.volume().join("app")), [""; 0]);
    assert_eq!(
        trees::difference(&before, &site.image("app")),
        [""; 0],
        "where it can be renamed, it is kept"
    );
    site.sync();
}

#[test]
fn a_kill_between_the_exchange_and_the_rename_loses_nothing_of_the_directory() {
    let (site, app) = with_a_directory();
    site.sync();
    // As a kill at that moment leaves it.
    fs::rename(site.image("app"), site.root().join("opt/.app.link-77")).unwrap();
    let memory = site.root().join("memory/app.json");
    let told = fs::read_to_string(&memory).unwrap();
    let marker = fs::read(site.volume().join("app/.move_complete")).unwrap();
    let marker: serde_json::Value = serde_json::from_slice(&marker).unwrap();
    let copy = format!("{}-{}", marker["manifest"].as_str().unwrap(), marker["completed_at"]);
    let now = format!(r#"{{"copy":"{copy}","source_since":[0,0],"copy_since":[9999999999,0]}}"#);
    fs::write(&memory, told.replace("\"leftover\":null", &format!("\"leftover\":{now}"))).unwrap();
    fs::write(site.root().join("opt/.app.link-77/late"), "late").unwrap();
    site.sync();
    assert!(site.image("app").join("late").exists());
    assert_eq!(fs::read_to_string(app.join("late")).unwrap(), "late");
    assert!(!site.root().join("opt/.app.link-77").exists());
}

/// A directory of an extended image that cannot be renamed into the image's place, as on an overlay file system.
fn with_a_fixed_directory() -> (Site, PathBuf) {
    let (site, app) = with_a_directory();
    fs::create_dir(site.image("app")).unwrap();
    (site, app)
}

#[test]
fn a_directory_that_cannot_be_renamed_is_emptied_although_it_was_written_a_moment_ago() {
    let (site, app) = with_a_fixed_directory();
    let before = site.root().join("before");
    assert!(std::process::Command::new("cp").arg("-a").args([&app, &before]).status().unwrap().success());
    site.sync();
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
    assert_eq!(differences(&before, &site.volume().join("app")), [""; 0]);
    assert_eq!(fs::read_dir(site.image("app")).unwrap().count(), 0);
    site.sync();
}

#[test]
fn a_kill_while_the_directory_is_emptied_does_not_empty_the_copy() {
    let (site, app) = with_a_fixed_directory();
    let before = site.root().join("before");
    assert!(std::process::Command::new("cp").arg("-a").args([&app, &before]).status().unwrap().success());
    // A program works there, so that the copy is made and the directory stays.
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "read line"]).current_dir(&app).stdin(std::process::Stdio::piped());
    let mut worker = shell.spawn().unwrap();
    assert!(site.sync().stdout.contains("stays in use"));
    drop(worker.stdin.take());
    worker.wait().unwrap();
    assert_eq!(differences(&before, &site.volume().join("app")), [""; 0]);
    for entry in fs::read_dir(&app).unwrap().map(Result::unwrap).filter(|entry| entry.path().is_file()) {
        fs::remove_file(entry.path()).unwrap();
    }
    site.sync();
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
    assert_eq!(differences(&before, &site.volume().join("app")), [""; 0]);
}

#[test]
fn a_directory_in_which_a_program_has_a_file_open_is_not_emptied() {
    let (site, app) = with_a_fixed_directory();
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "exec 3>> server.log; cd /; echo ready; read line; echo late >&3"]).current_dir(&app);
    shell.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let mut server = shell.spawn().unwrap();
    std::io::Read::read_exact(server.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
    let before = site.root().join("before");
    assert!(std::process::Command::new("cp").arg("-a").args([&app, &before]).status().unwrap().success());
    let journal = Journal::new(&site.root().join("boot.jsonl"));
    let run = || {
        let output = site.run(&["run"]);
        let stage = Timeline::from_entries(&journal.read().unwrap()).stage_run(Stage::Sync).cloned();
        (output, stage.map(|stage| (stage.result, stage.cause)))
    };
    let (output, stage) = run();
    assert_eq!(stage, None, "late boot's own run ends the stage");
    let told =
        format!("app: the image's directory stays in use: {} is a directory, not a link", app.display());
    let why = format!("and is in use by sh ({}), so it cannot be replaced by the copy", server.id());
    assert!(output.code == 0 && output.stdout.contains(&format!("{told}, {why}")), "{output:?}");
    let lost = format!("files written to {} are lost when the container is removed", app.display());
    assert!(output.stdout.contains(&lost), "{output:?}");
    assert!(output.stderr.contains("hint: build it as a link, "), "{output:?}");
    let entries = journal.read().unwrap();
    let place = |wanted: &dyn Fn(&Event) -> bool| entries.iter().position(|entry| wanted(&entry.event));
    let early =
        place(&|event| matches!(event, Event::StageNote { message, .. } if message.starts_with("app: ")));
    let copied = place(&|event| matches!(event, Event::SyncNote { tree, .. } if tree == "app"));
    assert!(early.is_some() && early < copied, "before the copy is made, and at the end: {entries:?}");
    assert_eq!(trees::difference(&before, &app), [""; 0]);
    let cause =
        output.stdout.lines().find_map(|line| line.strip_prefix("app: the image's directory stays in use: "));
    let cause = Some(format!("app: {}", cause.unwrap()));
    journal.append(Event::StageStarted { stage: Stage::Sync }).unwrap();
    let ended = StageResult::Done;
    journal
        .append(Event::StageEnded { stage: Stage::Sync, result: ended, cause: cause.clone(), hint: None })
        .unwrap();
    assert_eq!(run().1, Some((Some(ended), cause)), "it is still so");
    drop(server.stdin.take());
    server.wait().unwrap();
    assert_eq!(run().1, Some((Some(ended), None)), "the directory was switched");
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
    assert_eq!(fs::read_to_string(app.join("server.log")).unwrap(), "late\n");
}

#[test]
fn a_directory_from_which_a_program_started_a_moment_ago_is_not_emptied() {
    let (site, app) = with_a_fixed_directory();
    let copy = site.volume().join("app");
    let (library, late) = (app.join("library"), site.root().join("late"));
    fs::write(&library, "code").unwrap();
    fs::write(&late, "").unwrap();
    let has_started = AtomicBool::new(false);
    let mut reader = std::process::Command::new("sh");
    reader.args(["-c", "exec 3< library; cd /; echo ready; read line"]).current_dir(&app);
    reader.stdin(std::process::Stdio::piped()).stdout(std::process::Stdio::piped());
    let (output, mut reader) = std::thread::scope(|scope| {
        let run = scope.spawn(|| site.run(&["run"]));
        // Nothing is removed while the directory changes; no descriptor of this process is in it.
        scope.spawn(|| {
            while !has_started.load(Ordering::Relaxed) {
                fs::set_permissions(&library, fs::Permissions::from_mode(0o644)).unwrap();
            }
        });
        let wait = |file: PathBuf| {
            kit::wait::until(Duration::from_mins(1), "the run", || file.exists().then_some(())).unwrap();
        };
        wait(copy.join(".move_complete"));
        fs::rename(&late, app.join("late")).unwrap();
        // The first look at the programs is over.
        wait(copy.join("late"));
        let mut reader = reader.spawn().unwrap();
        std::io::Read::read_exact(reader.stdout.as_mut().unwrap(), &mut [0; 6]).unwrap();
        has_started.store(true, Ordering::Relaxed);
        (run.join().unwrap(), reader)
    });
    assert!(output.stdout.contains(&format!("is in use by sh ({})", reader.id())), "{output:?}");
    assert_eq!(fs::read(&library).unwrap(), b"code");
    drop(reader.stdin.take());
    reader.wait().unwrap();
    site.sync();
    assert_eq!(fs::read_link(&app).unwrap(), copy);
    let events = journal::Journal::new(&site.root().join("boot.jsonl")).read().unwrap();
    let is_switched = |event: &Event| *event == Event::SyncSwitched { tree: "app".into() };
    assert!(events.iter().any(|entry| is_switched(&entry.event)), "the note about it is history: {events:?}");
}

#[test]
fn everything_that_a_tree_can_hold_comes_along() {
    let site = Site::small();
    trees::edge_cases(&site.image("micromamba").join("strange"), 3).unwrap();
    site.sync();
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
    site.sync();
}

/// The nice values of a process's threads (`proc_pid_stat(5)`, field 19).
fn nice_values(process: u32) -> Option<std::collections::BTreeSet<i32>> {
    let threads = fs::read_dir(format!("/proc/{process}/task")).ok()?;
    let values = threads.filter_map(|thread| {
        let stat = fs::read_to_string(thread.ok()?.path().join("stat")).ok()?;
        stat.rsplit_once(')')?.1.split_whitespace().nth(16)?.parse().ok()
    });
    Some(values.collect())
}

#[test]
fn a_run_leaves_processor_and_disk_to_the_services_with_all_its_threads_unless_told_otherwise() {
    let ours = nice_values(std::process::id()).unwrap().into_iter().next().unwrap();
    for (arguments, expected) in [(&["run"][..], ours.max(15)), (&["run", "--full-speed"], ours)] {
        let failing = Failing::new();
        failing.volume.inject(faultfs::Fault::Slow(std::time::Duration::from_millis(3)));
        let mut command = failing.site.command(arguments);
        let mut run = command.stdout(std::process::Stdio::null()).spawn().unwrap();
        kit::wait::until(std::time::Duration::from_mins(1), "the copy", || {
            failing.site.partial().exists().then_some(())
        })
        .unwrap();
        let seen = nice_values(run.id()).unwrap();
        failing.volume.clear();
        assert!(run.wait().unwrap().success());
        assert_eq!(seen, [expected].into(), "{arguments:?}");
    }
}

#[test]
fn a_tree_deeper_than_the_usual_number_of_open_files_is_copied() {
    let site = Site::small();
    let deepest = site.image("micromamba").join(vec!["d"; 300].join("/"));
    fs::create_dir_all(&deepest).unwrap();
    fs::write(deepest.join("file"), "deep").unwrap();
    let run = site.command(&["run"]);
    let mut limited = std::process::Command::new("prlimit");
    limited.arg("--nofile=256:4096").arg(run.get_program()).args(run.get_args()).env_clear();
    limited.envs(run.get_envs().filter_map(|(name, value)| Some((name, value?))));
    limited.env("PATH", std::env::var_os("PATH").unwrap());
    let output = limited.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
}
