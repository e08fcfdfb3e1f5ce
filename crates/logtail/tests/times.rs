//! `logtail follow` records when it read which byte of a log.

// clippy's exception for tests does not cover functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::SystemTime;

use fixture::{DEADLINE, Machine, append};
use log_history::{Log, Logs, Position, line_time};

fn open(machine: &Machine) -> Log {
    Logs::new(&machine.path("")).open("x").unwrap()
}

/// Waits until the lines of a log have times.
#[track_caller]
fn times(machine: &Machine, lines: usize) -> Vec<f64> {
    kit::wait::until(DEADLINE, "the times of the lines", || {
        let found = open(machine).lines_after(Position::BEGINNING, 99, 9_999).unwrap();
        let times: Vec<f64> = found.iter().filter_map(|line| line.time).collect();
        (times.len() == lines).then_some(times)
    })
    .unwrap()
}

#[test]
fn lines_have_the_time_of_reading_also_after_kills_and_rotations() {
    let machine = Machine::new();
    let began = line_time::seconds(SystemTime::now());
    append(&machine.log("x"), "1\n");
    let mut follower = machine.follow();
    assert_eq!(follower.line(), "x | 1");
    let first = times(&machine, 1)[0];
    assert!(first + 0.001 >= began && first <= line_time::seconds(SystemTime::now()));
    follower.child.kill().unwrap();
    follower.child.wait().unwrap();
    // What a kill in the middle of a write leaves.
    let index = fs::read_dir(machine.path("var/lib/logtail/times")).unwrap().next().unwrap().unwrap();
    assert_eq!(index.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    append(&index.path(), "half");
    fs::rename(machine.log("x"), machine.log("x").with_extension("log.1")).unwrap();
    append(&machine.log("x"), "2\n");
    let between = line_time::seconds(SystemTime::now());
    let follower = machine.follow();
    while follower.line() != "x | 2" {}
    let found = times(&machine, 2);
    assert!((found[0] - first).abs() < 1e-6 && found[1] + 0.001 >= between, "{found:?} {first} {between}");
    let mut log = open(&machine);
    for (time, line) in [(0.0, Some("1")), (first, Some("1")), (found[1], Some("2")), (found[1] + 5.0, None)]
    {
        // Both lines may be of one second.
        let at = log.position_at(time).unwrap();
        let found = log.lines_after(at, 1, 99).unwrap();
        let text = found.first().map(|line| String::from_utf8_lossy(&line.bytes).into_owned());
        assert!(
            text.as_deref() == line || (text.as_deref() == Some("1") && line == Some("2")),
            "{time}: {text:?}"
        );
    }
    assert_eq!(follower.stop().0, Some(0));
    fs::remove_file(machine.log("x").with_extension("log.1")).unwrap();
    fs::remove_file(machine.log("x")).unwrap();
    append(&machine.log("y"), "3\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "y | 3");
    kit::wait::until(DEADLINE, "the times of removed files to be removed", || {
        (fs::read_dir(machine.path("var/lib/logtail/times")).unwrap().count() == 1).then_some(())
    })
    .unwrap();
}
