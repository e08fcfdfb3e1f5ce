//! The running monitor.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use nix::sys::signal::Signal;
use serde_json::Value;

use crate::fixture::{PROGRAM, World};

#[test]
fn what_comes_changes_and_goes_is_followed() {
    let mut world = World::new("storage_map[a]=APP\n");
    world.start();
    world.store("a/x");
    world.until_links(&["x -> a/x"]);
    world.store("a/new/deep/y");
    world.until_links(&["new/", "new/deep/", "new/deep/y -> a/new/deep/y", "x -> a/x"]);
    fs::rename(world.stored("a/new"), world.stored("a/renamed")).unwrap();
    world.until_links(&["renamed/", "renamed/deep/", "renamed/deep/y -> a/renamed/deep/y", "x -> a/x"]);
    // In a directory that was renamed while it was watched.
    world.store("a/renamed/deep/z");
    fs::remove_file(world.stored("a/x")).unwrap();
    let deep = ["renamed/deep/y -> a/renamed/deep/y", "renamed/deep/z -> a/renamed/deep/z"];
    world.until_links(&["renamed/", "renamed/deep/", deep[0], deep[1]]);
    fs::remove_dir_all(world.stored("a/renamed")).unwrap();
    world.until_links(&[]);
    fs::remove_dir_all(world.stored("a")).unwrap();
    world.store("a/again");
    world.until_links(&["again -> a/again"]);
    assert_eq!(world.stop(Signal::SIGTERM), Some(0));
    assert_eq!(world.links(), ["again -> a/again"], "links stay when the monitor ends");
}

#[test]
fn a_download_is_linked_when_it_is_renamed_to_its_final_name() {
    let mut world = World::new("storage_map[a]=APP\n");
    world.start();
    for ending in ["part", "crdownload", "incomplete"] {
        world.store(format!("a/{ending}.bin.{ending}"));
    }
    world.store("a/big.aria2");
    world.store("a/big");
    world.store("a/last");
    world.until_links(&["last -> a/last"]);
    for ending in ["part", "crdownload", "incomplete"] {
        let path = world.stored(format!("a/{ending}.bin.{ending}"));
        fs::rename(&path, path.with_extension("")).unwrap();
    }
    fs::remove_file(world.stored("a/big.aria2")).unwrap();
    world.until_links(&[
        "big -> a/big",
        "crdownload.bin -> a/crdownload.bin",
        "incomplete.bin -> a/incomplete.bin",
        "last -> a/last",
        "part.bin -> a/part.bin",
    ]);
}

#[test]
fn an_edit_of_the_mapping_takes_effect_at_once_and_a_mistake_in_it_none() {
    let mut world = World::new("storage_map[a]=APP/one\n");
    world.store("a/x");
    world.start();
    world.until_links(&["one/", "one/x -> a/x"]);
    world.map("storage_map[a]=APP/two\nstorage_map[new/deep]=APP\n");
    world.until_links(&["two/", "two/x -> a/x"]);
    world.map("storage_map[a]=\n");
    let complaint = "TOP/etc/mappings.sh: line 1: storage_map[\"a\"]: names no directory";
    world.until("the complaint", || world.run(&["status"]).out.contains(complaint));
    world.store("new/deep/y");
    world.until_links(&["two/", "two/x -> a/x", "y -> new/deep/y"]);
    assert_eq!(world.log().matches(complaint).count(), 1, "{}", world.log());
}

#[test]
fn a_mapping_that_is_written_in_place_takes_effect() {
    let mut world = World::new("storage_map[a]=APP/one\n");
    world.store("a/x");
    world.start();
    world.until_links(&["one/", "one/x -> a/x"]);
    let file = world.path("etc/mappings.sh");
    let text = fs::read_to_string(&file).unwrap();
    fs::write(&file, text.replace("/one", "/two")).unwrap();
    world.until_links(&["two/", "two/x -> a/x"]);
}

#[test]
fn a_directory_of_an_application_is_used_as_soon_as_it_can_be() {
    let mut world = World::new("storage_map[a]=APP/not/installed/models\n");
    world.store("a/x");
    world.start();
    let status = world.run(&["status"]);
    assert_eq!(
        (status.code, status.out.as_str()),
        (
            Some(0),
            "0 files linked into applications\n\
             \"TOP/app/not/installed/models\" is pending: \"TOP/app/not/installed\" does not exist yet\n"
        )
    );
    fs::create_dir(world.path("app/not")).unwrap();
    fs::create_dir(world.path("app/not/installed")).unwrap();
    let path = "not/installed/models";
    let all = ["not/".into(), "not/installed/".into(), format!("{path}/"), format!("{path}/x -> a/x")];
    world.until("the link", || world.links() == all);
    // The state is written after the links are made.
    world.until("the state", || world.run(&["status"]).out == "1 file linked into applications\n");
}

#[test]
fn the_state_is_one_object_and_a_conflict_is_logged_once() {
    let mut world = World::new("storage_map[a]=APP\nstorage_map[b]=APP\n");
    world.store("a/x");
    world.store("b/x");
    world.start();
    world.store("a/y");
    world.until("y", || world.path("app/y").exists());
    world.until("the state", || world.run(&["status"]).out.starts_with("2 files linked"));
    let answer = world.run(&["status", "--json"]);
    let mut state: BTreeMap<String, Value> = serde_json::from_str(&answer.out).unwrap();
    for changing in ["pid", "scan_began", "scan_milliseconds"] {
        assert!(state.remove(changing).unwrap().is_u64(), "{changing}");
    }
    // Longer where a look takes long, and as the file system of the test's directory asks for.
    assert!(state.remove("rescan_seconds").unwrap().as_u64() >= Some(5));
    assert!(["complete", "partial"].map(Value::from).contains(&state.remove("events").unwrap()));
    let sentence = "\"TOP/app/x\" links to \"a/x\", not to \"b/x\"";
    let expected = serde_json::json!({
        "storage": "TOP/workspace/storage",
        "links": 2,
        "shipped": 0,
        "conflicts": 1,
        "conflict_list": [sentence],
        "problems": [],
        "waiting": {},
    });
    assert_eq!(serde_json::to_value(&state).unwrap(), expected);
    assert_eq!(world.log().matches(sentence).count(), 1, "{}", world.log());
}

#[test]
fn a_conflict_comes_and_goes_with_its_name_and_leaves_the_others() {
    let mut world = World::new("storage_map[a]=APP\nstorage_map[b]=APP\n");
    world.store("a/x");
    world.store("b/x");
    world.start();
    let until = |world: &World, names: &[&str]| {
        let sentence =
            |name: &&str| format!("\"TOP/app/{name}\" links to \"a/{name}\", not to \"b/{name}\"\n");
        let conflicts: String = names.iter().map(sentence).collect();
        world.until(&conflicts, || world.run(&["status"]).out.split_once('\n').unwrap().1 == conflicts);
    };
    until(&world, &["x"]);
    world.store("a/w");
    world.store("b/w");
    until(&world, &["w", "x"]);
    fs::remove_file(world.stored("a/w")).unwrap();
    until(&world, &["x"]);
    world.until_links(&["w -> b/w", "x -> a/x"]);
    fs::remove_file(world.stored("b/x")).unwrap();
    until(&world, &[]);
}

#[test]
fn a_monitor_that_runs_does_a_look_when_it_is_asked() {
    let mut world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    world.start();
    world.until_links(&["x -> a/x"]);
    // No event reports that a link has gone.
    fs::remove_file(world.path("app/x")).unwrap();
    assert_eq!(world.run(&["once"]).code, Some(0));
    assert_eq!(world.links(), ["x -> a/x"]);
    let second = world.run(&["run"]);
    let error = "storage-monitor: another storage-monitor is running\nhint: run: storage-monitor status\n";
    assert_eq!((second.code, second.error.as_str()), (Some(1), error));
}

#[test]
fn a_kill_at_any_moment_leaves_nothing_that_the_next_start_does_not_put_right() {
    let mut world = World::new("storage_map[a]='APP\nAPP/two'\n");
    for round in 0..15 {
        for number in 0..40 {
            world.store(format!("a/{round}/{number}"));
        }
        world.start();
        for number in 0..200 {
            world.store(format!("a/x{number}"));
            if number % 5 == 0 {
                fs::remove_file(world.stored(format!("a/{round}/{}", number / 5))).unwrap();
            }
            if number == round * 12 {
                world.stop(Signal::SIGKILL);
            }
        }
        for number in 0..200 {
            fs::remove_file(world.stored(format!("a/x{number}"))).unwrap();
        }
    }
    world.start();
    world.until("the links of a fresh look", || world.links() == world.fresh());
}

#[test]
fn without_watches_changes_are_found_by_looking() {
    let mut world = World::new("storage_map[a]=APP\n");
    for directory in 0..10 {
        world.store(format!("a/{directory}/x"));
    }
    // A user namespace has limits of its own.
    let mut command = Command::new("unshare");
    let script = "echo 5 > /proc/sys/user/max_inotify_watches && exec \"$0\" \"$@\"";
    command.args(["--user", "--map-root-user", "sh", "-c", script, PROGRAM]);
    world.start_as(command);
    world.until("the state", || world.state()["events"] == "none");
    let advice =
        "the kernel grants no more than 5 watches; on the host: sysctl fs.inotify.max_user_watches=1048576";
    assert_eq!(world.state()["problems"], serde_json::json!([advice]));
    assert!(world.state()["rescan_seconds"].as_u64() >= Some(5));
    world.until_a_scan_is_due_soon();
    for directory in 0..10 {
        world.store(format!("a/{directory}/y"));
    }
    world.until("the links", || world.links() == world.fresh());
    assert_eq!(world.links().len(), 30);
}

#[test]
fn without_any_instance_of_inotify_changes_are_found_by_looking() {
    let mut world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    let mut command = Command::new("unshare");
    let script = "echo 0 > /proc/sys/user/max_inotify_instances && exec \"$0\" \"$@\"";
    command.args(["--user", "--map-root-user", "sh", "-c", script, PROGRAM]);
    world.start_as(command);
    world.until_a_scan_is_due_soon();
    world.store("a/y");
    world.until_links(&["x -> a/x", "y -> a/y"]);
    assert!(world.log().contains("sysctl fs.inotify.max_user_instances=1024"), "{}", world.log());
}

#[test]
fn a_second_process_waits_while_another_is_at_work() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    for task in ["once", "run"] {
        let path = world.path("state/lock");
        let lock = kit::lock::Lock::open(&path).unwrap();
        lock.acquire(std::time::Duration::ZERO).unwrap();
        let mut child = world.command(&[task]).spawn().unwrap();
        let descriptors = format!("/proc/{}/fd", child.id());
        let opened = || {
            let mut all = fs::read_dir(&descriptors).ok()?;
            all.any(|entry| fs::read_link(entry.unwrap().path()).is_ok_and(|to| to == path)).then_some(())
        };
        let opened = kit::wait::until(std::time::Duration::from_secs(30), "the lock", opened);
        drop(lock);
        let mut done = || world.links() == ["x -> a/x"] || child.try_wait().is_ok_and(|code| code.is_some());
        let done = kit::wait::until(std::time::Duration::from_secs(30), "the link", || done().then_some(()));
        let links = world.links();
        let _ = child.kill();
        child.wait().unwrap();
        opened.and(done).unwrap();
        assert_eq!(links, ["x -> a/x"], "{task}");
        fs::remove_file(world.path("app/x")).unwrap();
    }
}

#[test]
fn a_mapping_is_evaluated_again_when_that_is_asked_for() {
    let mut world = World::new("[ -e TOP/ready ] || echo 'not ready' >&2\nstorage_map[a]=APP\n");
    world.store("a/x");
    world.start();
    assert!(world.run(&["status"]).out.contains("not ready"));
    fs::write(world.path("ready"), "").unwrap();
    assert_eq!(world.run(&["once"]).code, Some(0));
    assert_eq!(world.links(), ["x -> a/x"]);
}

#[test]
fn the_state_of_an_earlier_run_goes_before_the_first_look() {
    let world = World::new("until [ -e TOP/go ]; do sleep 0.05; done\n");
    let state = world.path("run/status.json");
    fs::create_dir(world.path("run")).unwrap();
    fs::write(&state, "stale").unwrap();
    let mut child = world.command(&["run"]).spawn().unwrap();
    let minute = std::time::Duration::from_mins(1);
    let gone = kit::wait::until(minute, "the state to go", || (!state.exists()).then_some(()));
    fs::write(world.path("go"), "").unwrap();
    let new = kit::wait::until(minute, "the state", || state.exists().then_some(()));
    child.kill().unwrap();
    child.wait().unwrap();
    gone.and(new).unwrap();
}
