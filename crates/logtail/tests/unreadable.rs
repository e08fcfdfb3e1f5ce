//! What cannot be read is named, and holds up nothing.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::PathBuf;

use fixture::{Machine, append};

#[test]
fn irregular_files_are_refused_by_name_and_no_link_is_followed() {
    let machine = Machine::new();
    append(&machine.path("secret"), "secret\n");
    symlink(machine.path("secret"), machine.log("link")).unwrap();
    fs::create_dir(machine.log("dir")).unwrap();
    let follower = machine.follow();
    let refused =
        |name| format!("logtail | cannot read {}: it is not a regular file", machine.log(name).display());
    assert_eq!([follower.line(), follower.line()], [refused("dir"), refused("link")]);
    append(&machine.log("x"), "x\n");
    assert_eq!(follower.line(), "x | x");
    // A log that is replaced by a directory, and comes back.
    fs::remove_file(machine.log("x")).unwrap();
    fs::create_dir(machine.log("x")).unwrap();
    assert_eq!(follower.line(), refused("x"));
    fs::remove_dir(machine.log("x")).unwrap();
    append(&machine.log("x"), "again\n");
    assert_eq!(follower.line(), "x | again");
}

#[test]
fn a_log_that_cannot_be_read_is_named_once() {
    let machine = Machine::new();
    append(&machine.log("x"), "");
    let follower = machine.follow();
    follower.has_open(&machine.log("x"));
    // Still open and watched, and no place any more where rotated files could be looked for.
    let moved = machine.path("moved");
    fs::rename(machine.path("var/log/supervisor"), &moved).unwrap();
    symlink(&moved, machine.path("var/log/supervisor")).unwrap();
    append(&moved.join("x.log"), "1\n");
    let mut lines = [follower.line(), follower.line()];
    lines.sort();
    let directory = machine.path("var/log/supervisor/");
    let why = "Not a directory (os error 20)";
    let said = [format!("cannot read {}: {why}", directory.display()), format!("cannot read x: {why}")];
    assert_eq!(lines, said.map(|text| format!("logtail | {text}")));
    append(&moved.join("x.log"), "2\n");
    assert_eq!(follower.stop(), (Some(0), vec![]));
}

#[test]
fn several_logs_that_cannot_be_read_are_each_named_once_and_hold_up_no_other() {
    let machine = Machine::new();
    let locked = ["a", "b", "c"].map(|name| machine.log(name));
    for path in &locked {
        append(path, "secret until now\n");
        fs::set_permissions(path, fs::Permissions::from_mode(0o000)).unwrap();
    }
    fs::create_dir(machine.log("d")).unwrap();
    append(&machine.log("x"), "1\n");
    let follower = machine.follow_as_nobody();
    let cannot = |path: &PathBuf, why: &str| format!("logtail | cannot read {}: {why}", path.display());
    let mut said = locked.each_ref().map(|path| cannot(path, "Permission denied (os error 13)")).to_vec();
    said.push(cannot(&machine.log("d"), "it is not a regular file"));
    said.push("x | 1".to_owned());
    let lines: Vec<_> = said.iter().map(|_| follower.line()).collect();
    assert_eq!(lines, said);
    append(&machine.log("x"), "2\n");
    assert_eq!(follower.line(), "x | 2");
    for (path, name) in locked.iter().zip(["a", "b", "c"]) {
        fs::set_permissions(path, fs::Permissions::from_mode(0o644)).unwrap();
        assert_eq!(follower.line(), format!("{name} | secret until now"));
    }
    assert_eq!(follower.stop(), (Some(0), vec![]));
}

#[test]
fn a_log_is_read_on_where_it_was_also_if_it_could_not_be_read_at_the_start() {
    let machine = Machine::new();
    let path = machine.log("x");
    append(&path, "1\n");
    let follower = machine.follow_as_nobody();
    assert_eq!(follower.line(), "x | 1");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    fs::set_permissions(&path, fs::Permissions::from_mode(0o000)).unwrap();
    let follower = machine.follow_as_nobody();
    let why = "Permission denied (os error 13)";
    assert_eq!(follower.line(), format!("logtail | cannot read {}: {why}", path.display()));
    append(&path, "2\n");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    assert_eq!(follower.line(), "x | 2");
}

#[test]
fn a_viewer_names_what_it_may_not_read_and_shows_the_rest() {
    let machine = Machine::new();
    append(&machine.path("var/log/logtail.log"), "2999-01-01T00:00:00.000Z x | 1\n");
    append(&machine.log("y"), "1\n");
    let allow = |below: &str, mode: u32| {
        fs::set_permissions(machine.path(below), fs::Permissions::from_mode(mode)).unwrap();
    };
    for below in ["", "var", "var/log"] {
        allow(below, 0o755);
    }
    let shown = || {
        let output = machine.logtail(&["x", "y", "--no-follow"]).uid(65534).gid(65534).output().unwrap();
        [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap())
    };
    let cannot = |path: PathBuf| {
        format!("logtail: warning: cannot read {}: Permission denied (os error 13)\n", path.display())
    };
    allow("var/log/supervisor/y.log", 0o600);
    assert_eq!(shown(), ["2999-01-01T00:00:00.000Z x | 1\n".to_owned(), cannot(machine.log("y"))]);
    allow("var/log/supervisor", 0o700);
    let directory = machine.path("var/log/supervisor");
    assert_eq!(shown(), ["2999-01-01T00:00:00.000Z x | 1\n".to_owned(), cannot(directory)]);
}
