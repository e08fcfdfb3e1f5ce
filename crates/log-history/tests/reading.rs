//! Logs are read forwards, backwards and by time, while their files are rotated, truncated and removed.

// clippy's exception for tests does not cover functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs;
use std::ops::ControlFlow;

use fixture::Machine;
use log_history::{Budget, Change, Line, Log, Position, PositionGone, Query, search};

/// Something that happens to a log with this text.
type Event = fn(&Machine, &str);

/// Returns the lines of a log as texts, forwards and in batches of a few.
fn forwards(log: &mut Log) -> Vec<String> {
    let (mut at, mut found) = (log.start(), Vec::new());
    loop {
        let lines = log.lines_after(at, 3, 1 << 20).unwrap();
        let Some(last) = lines.last() else { return found };
        at = last.end;
        found.extend(lines.iter().map(fixture::text));
    }
}

/// Returns the same backwards.
fn backwards(log: &mut Log) -> Vec<String> {
    let (mut at, mut found) = (log.end(), Vec::new());
    loop {
        let lines = log.lines_before(at, 3, 1 << 20).unwrap();
        let Some(first) = lines.first() else { break };
        at = first.position;
        found.extend(lines.iter().rev().map(fixture::text));
    }
    found.reverse();
    found
}

#[test]
fn files_are_read_as_one_log_in_both_directions() {
    let without_end = "x".repeat(100_000);
    for (files, expected) in [
        (&[("x.log", "")][..], vec![]),
        (&[("x.log", "a\n\nb")], vec!["a", "", "b"]),
        (&[("x.log", "3\n"), ("x.log.1", "2\n"), ("x.log.2", "1\n")], vec!["1", "2", "3"]),
        (&[("x.log", ""), ("x.log.1", "2\n"), ("x.log.2", ""), ("x.log.3", "1")], vec!["1", "2"]),
        (&[("x.log.1", "only\nrotated\n")], vec!["only", "rotated"]),
        (&[("x.log", "3\n"), ("x.log.1.gz", "2\n"), ("x.log.2.gz", "1\n")], vec!["1", "2", "3"]),
        (&[("x.log.1.gz", "short\n")], vec!["short"]),
        (&[("x.log", "2\n"), ("x.log.1.xz", "unreadable"), ("x.log.2", "1\n")], vec!["1", "2"]),
        (&[("x.log", "\0\r\u{1b}[31m\u{202e}\n")], vec!["\0\r\u{1b}[31m\u{202e}"]),
        (
            &[("x.log", without_end.as_str())],
            vec![
                &without_end[..65_536 - 32_768],
                &without_end[..32_768],
                &without_end[..32_768],
                &without_end[..1_696],
            ],
        ),
    ] {
        let machine = Machine::new();
        // The oldest first, as their times say.
        files.iter().rev().for_each(|(name, text)| machine.write(name, text));
        let mut log = machine.open("x");
        let expected: Vec<String> = expected.into_iter().map(str::to_owned).collect();
        let names: Vec<_> = files.iter().map(|(name, _)| name).collect();
        if files[0].1 == without_end {
            assert_eq!(forwards(&mut log).concat(), without_end);
        } else {
            assert_eq!(forwards(&mut log), expected, "{names:?}");
        }
        assert_eq!(backwards(&mut log), forwards(&mut log), "{names:?}");
    }
}

#[test]
fn a_position_survives_what_happens_to_its_file() {
    let text = "a first line that identifies the file by more than 64 bytes of its content\nsecond\n";
    let events: [(&str, Event, Change, Option<&str>); 7] = [
        ("nothing", |_, _| {}, Change::None, Some("second")),
        ("grown", |machine, _| machine.append("x.log", "third\n"), Change::Grown, Some("second")),
        ("rotated", |machine, _| machine.rotate("x.log"), Change::Rotated, Some("second")),
        (
            "compressed",
            |machine, text| {
                machine.remove("x.log");
                machine.write("x.log.1.gz", text);
                machine.write("x.log", "new\n");
            },
            Change::Rotated,
            Some("second"),
        ),
        (
            "copied and truncated",
            |machine, text| {
                machine.write("x.log.1", text);
                machine.truncate("x.log");
            },
            Change::Truncated,
            Some("second"),
        ),
        (
            "rewritten in place",
            |machine, _| {
                machine.truncate("x.log");
                machine.append("x.log", &"another line\n".repeat(20));
            },
            Change::Truncated,
            None,
        ),
        ("removed", |machine, _| machine.remove("x.log"), Change::Gone, None),
    ];
    for (what, happen, change, found) in events {
        let machine = Machine::new();
        machine.write("x.log", text);
        let mut log = machine.open("x");
        let second = log.lines_after(log.start(), 9, 9_999).unwrap()[1].position;
        let second: Position = second.to_string().parse().unwrap();
        happen(&machine, text);
        assert_eq!(log.refresh().unwrap(), change, "{what}");
        for mut log in [Some(log), machine.logs().open("x").ok()].into_iter().flatten() {
            let lines = log.lines_after(second, 1, 9_999);
            let gone = lines.as_ref().err().is_some_and(anyhow::Error::is::<PositionGone>);
            let line = lines.ok().and_then(|lines| lines.first().map(fixture::text));
            assert_eq!((line.as_deref(), gone), (found, found.is_none()), "{what}");
            assert!(log.lines_after(Position::BEGINNING, 1, 9).is_ok(), "{what}");
        }
    }
}

#[test]
fn a_position_in_a_file_that_cannot_be_opened_is_at_most_at_its_end() {
    let machine = Machine::new();
    for (name, text) in [("x.log.2", "1\n"), ("x.log.1", "2\n"), ("x.log", "3\n")] {
        machine.write(name, text);
    }
    let mut log = machine.open("x");
    let second = log.lines_after(log.start(), 2, 99).unwrap()[1].position;
    let mut log = machine.open("x");
    // As a file without permission.
    machine.remove("x.log.1");
    let behind = Position { offset: 1 << 50, ..second };
    let texts = |lines: Vec<Line>| lines.iter().map(fixture::text).collect::<Vec<_>>();
    assert_eq!(texts(log.lines_after(behind, 9, 99).unwrap()), ["3"]);
    assert_eq!(texts(log.lines_before(behind, 9, 99).unwrap()), ["1"]);
    let query = Query { from: Some(vec![behind]), ..Query::default() };
    search(&mut [log], &query, &Budget::default(), |event| {
        assert!(!matches!(event, log_history::Event::Progress { total: 5.., .. }), "{event:?}");
        ControlFlow::Continue(())
    })
    .unwrap();
}

#[test]
fn names_that_lead_elsewhere_are_refused() {
    let machine = Machine::new();
    machine.write("x.log", "1\n");
    fs::write(machine.root().join("var/log/secret.log"), "1\n").unwrap();
    for name in [
        "",
        ".",
        "..",
        "../secret",
        "x/../x",
        "/var/log/secret",
        "secret",
        ".x",
        "x\0",
        "none",
        "supervisor:none",
    ] {
        assert!(machine.logs().open(name).is_err(), "{name:?}");
    }
    assert_eq!(fixture::all(&mut machine.open("x")), ["1"]);
}

#[test]
fn the_log_of_a_program_with_the_name_of_a_boot_log_has_a_name_of_its_own() {
    let machine = Machine::new();
    machine.write("sync.log", "program\n");
    machine.write("caddy.log", "caddy\n");
    fs::write(machine.root().join("var/log/sync.log"), "boot\n").unwrap();
    fs::write(machine.root().join("var/log/logtail.log"), "merged\n").unwrap();
    let names: Vec<String> = machine.logs().names().unwrap().into_iter().map(|info| info.name).collect();
    assert_eq!(names, ["caddy", "supervisor:sync", "sync"]);
    for (name, line) in
        [("sync", "boot"), ("supervisor:sync", "program"), ("caddy", "caddy"), ("logtail", "merged")]
    {
        assert_eq!(fixture::all(&mut machine.open(name)), [line]);
    }
    fs::remove_dir_all(machine.path("")).unwrap();
    fs::write(machine.root().join("var/log/supervisor"), "no directory").unwrap();
    assert_eq!(machine.logs().names().unwrap().len(), 1, "one directory of two can be read");
    fs::remove_file(machine.root().join("var/log/sync.log")).unwrap();
    assert!(machine.logs().names().is_err());
}

#[test]
fn what_cannot_be_read_is_named_and_the_rest_is_shown() {
    let machine = Machine::new();
    machine.write("x.log", "3\n");
    machine.write("x.log.1.xz", "");
    fs::write(machine.path("x.log.2.gz"), "no gzip").unwrap();
    machine.write("x.log.3", "1\n");
    let mut log = machine.open("x");
    assert_eq!(fixture::all(&mut log), ["1", "3"]);
    let paths: Vec<String> = log.problems().into_keys().collect();
    assert_eq!(paths, ["x.log.1.xz", "x.log.2.gz"].map(|name| machine.path(name).display().to_string()));
}
