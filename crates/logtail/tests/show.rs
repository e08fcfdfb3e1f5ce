//! `logtail` at the prompt, the real binary.

// clippy's exception for tests does not cover functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::process::Output;

use fixture::{Follower, Machine, append, has_open};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

const RECORD: &str = "\
2020-01-01T00:00:00.000Z caddy | old
2999-01-01T00:00:00.000Z caddy | ERROR one
2999-01-01T00:00:01.000Z sshd | two
2999-01-01T00:00:02.000Z caddy | three
";

fn machine() -> Machine {
    let machine = Machine::new();
    append(&machine.path("var/log/logtail.log"), RECORD);
    machine
}

fn run(machine: &Machine, args: &[&str]) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = machine.logtail(args).output().unwrap();
    (status.code(), String::from_utf8(stdout).unwrap(), String::from_utf8(stderr).unwrap())
}

/// Lines of the merged log, by number.
fn lines(numbers: &[usize]) -> String {
    numbers.iter().map(|&number| RECORD.split_inclusive('\n').nth(number).unwrap()).collect()
}

#[test]
fn lines_of_before_are_chosen_by_service_number_time_and_text() {
    let machine = machine();
    for (args, numbers) in [
        (&[][..], &[0, 1, 2, 3][..]),
        (&["-n", "2"], &[2, 3]),
        (&["caddy", "-n", "2"], &[1, 3]),
        (&["caddy", "sshd", "-n", "2"], &[2, 3]),
        (&["--since", "10m"], &[1, 2, 3]),
        (&["--since", "10m", "-n", "1"], &[3]),
        (&["--until", "10m"], &[0]),
        (&["--until", "10m", "-n", "0"], &[]),
        (&["-n", "1", "--grep", "ERROR"], &[1]),
        (&["caddy", "-n", "1", "--grep", "^[a-z]+$"], &[3]),
        (&["--grep", "^t.*e"], &[3]),
        (&["sshd", "--grep", "."], &[2]),
    ] {
        let args = [args, &["--no-follow"]].concat();
        let code = Some(i32::from(numbers.is_empty()));
        assert_eq!(run(&machine, &args), (code, lines(numbers), String::new()), "{args:?}");
    }
}

#[test]
fn nothing_to_show_is_a_no_and_a_bad_question_is_a_usage_error() {
    let machine = machine();
    let no = (Some(1), String::new(), String::new());
    assert_eq!(run(&machine, &["--no-follow", "--grep", "nobody"]), no);
    assert_eq!(run(&machine, &["--no-follow", "nobody"]), no);
    for args in [&["--since", "soon"][..], &["--grep", "("], &["-n", "-1"], &["--fly"]] {
        assert_eq!(run(&machine, args).0, Some(2), "{args:?}");
    }
}

#[test]
fn a_terminal_gets_colours_unless_it_does_not_want_them_and_a_pipe_never_does() {
    let machine = machine();
    let on_terminal = |no_color: &str| {
        let terminal = nix::pty::openpty(None, None).unwrap();
        let mut command = machine.logtail(&["--no-follow", "-n", "3"]);
        let mut child = command.env("NO_COLOR", no_color).stdout(terminal.slave).spawn().unwrap();
        // Our copy of the terminal would keep the other end open.
        drop(command);
        let mut text = Vec::new();
        // The end of a terminal is an error (EIO).
        let _ = File::from(terminal.master).read_to_end(&mut text);
        assert!(child.wait().unwrap().success());
        String::from_utf8(text).unwrap().replace("\r\n", "\n")
    };
    let coloured = "\
\x1b[2m2999-01-01T00:00:00.000Z\x1b[0m \x1b[36mcaddy\x1b[0m | \x1b[31mERROR one\x1b[0m
\x1b[2m2999-01-01T00:00:01.000Z\x1b[0m \x1b[92msshd\x1b[0m | two
\x1b[2m2999-01-01T00:00:02.000Z\x1b[0m \x1b[36mcaddy\x1b[0m | three
";
    assert_eq!(on_terminal(""), coloured);
    assert_eq!(on_terminal("1"), lines(&[1, 2, 3]));
    assert_eq!(run(&machine, &["--no-follow", "-n", "3"]).1, lines(&[1, 2, 3]));
}

#[test]
fn json_is_one_object_a_line() {
    let (code, stdout, _) = run(&machine(), &["--no-follow", "--json", "-n", "3"]);
    assert_eq!(
        (code, stdout.as_str()),
        (
            Some(0),
            "{\"at\":\"2999-01-01T00:00:00.000Z\",\"service\":\"caddy\",\"level\":\"error\",\"text\":\"ERROR one\"}\n\
             {\"at\":\"2999-01-01T00:00:01.000Z\",\"service\":\"sshd\",\"level\":null,\"text\":\"two\"}\n\
             {\"at\":\"2999-01-01T00:00:02.000Z\",\"service\":\"caddy\",\"level\":null,\"text\":\"three\"}\n"
        )
    );
}

#[test]
fn of_a_service_that_left_the_record_its_own_log_is_shown() {
    let machine = machine();
    append(&machine.log("boot").with_extension("log.1"), "1\n2\n");
    append(&machine.log("boot"), "\x1b[31m3\n");
    let shown = run(&machine, &["boot", "-n", "2", "--no-follow"]);
    assert_eq!(shown, (Some(0), "boot | 2\nboot | 3\n".to_owned(), String::new()));
}

#[test]
fn what_left_the_record_is_older_than_what_is_in_it() {
    let machine = machine();
    append(&machine.log("boot"), "1\n2\n3\n");
    let shown = run(&machine, &["caddy", "boot", "-n", "4", "--no-follow"]);
    assert_eq!(shown, (Some(0), format!("boot | 3\n{}", lines(&[0, 1, 3])), String::new()));
}

#[test]
fn where_the_record_begins_too_late_own_logs_are_shown_by_time() {
    let machine = machine();
    let line = |day: u32, text: &str| format!("2019-01-0{day}T00:00:00Z {text}\n");
    append(&machine.log("caddy").with_extension("log.1"), line(1, "c1") + &line(3, "c3"));
    append(&machine.log("caddy"), line(5, "\x1b[31mc5"));
    append(&machine.log("sshd"), line(2, "s2") + "of 2\n" + &line(4, "s4"));
    let shown = |args: &[&str]| {
        let (code, text, _) = run(&machine, &[args, &["--no-follow"]].concat());
        let words = text.lines().map(|line| line.rsplit(' ').next().unwrap_or_default().to_owned());
        (code, words.collect::<Vec<_>>().join(" "))
    };
    // The record has lines of caddy too, and of them only two in its own log; of `gone`, there is no other log.
    append(&machine.path("var/log/logtail.log"), "2999-01-01T00:00:03.000Z gone | left\n");
    append(&machine.log("caddy"), "2999-01-01T00:00:00Z ERROR one\n2999-01-01T00:00:02Z three\n");
    for (args, words) in [
        (&["caddy", "sshd", "--since", "9999d"][..], "c1 s2 2 c3 s4 c5 old one two three"),
        (&["sshd", "--since", "9999d"], "s2 2 s4 two"),
        (&["gone", "--since", "9999d"], "left"),
        (&["caddy", "--since", "9999d", "--grep", "^2019.*c[15]|thr"], "c1 c5 three"),
        (&["caddy", "--since", "9999d", "--until", "1d"], "c1 c3 c5 old"),
        (&["caddy", "--since", "9999d", "--grep", "none"], ""),
        (&["caddy", "--since", "9999d", "-n", "5"], "c3 c5 old one three"),
        (&["sshd", "caddy", "--since", "9999d", "-n", "7"], "c3 s4 c5 old one two three"),
        (&["caddy", "--since", "1d", "-n", "5"], "one three"),
    ] {
        assert_eq!(shown(args), (Some(i32::from(words.is_empty())), words.to_owned()), "{args:?}");
    }
    assert_eq!(
        shown(&["--since", "9999d"]).1,
        "old one two three left",
        "without a service, only the merged log"
    );
    fs::remove_file(machine.path("var/log/logtail.log")).unwrap();
    assert_eq!(shown(&["sshd", "--since", "9999d"]).1, "s2 2 s4", "without a merged log");
}

#[test]
fn what_comes_is_shown_as_it_comes_also_after_a_rotation_of_the_record() {
    let machine = machine();
    let mut viewer = Follower::of(machine.logtail(&["caddy", "-n", "1"]).spawn().unwrap());
    assert_eq!(viewer.line(), lines(&[3]).trim_end());
    let record = machine.path("var/log/logtail.log");
    append(&record, lines(&[2, 1]));
    assert_eq!(viewer.line(), lines(&[1]).trim_end());
    std::fs::rename(&record, machine.path("var/log/logtail.log.1")).unwrap();
    append(&record, lines(&[0]));
    assert_eq!(viewer.line(), lines(&[0]).trim_end());
    viewer.child.kill().unwrap();
}

/// A line of the merged log that is longer than a pipe's capacity.
fn long(number: usize) -> String {
    format!("2999-01-01T00:00:00.000Z x | {number} {}\n", "x".repeat(1_000)).repeat(100)
}

fn rotate(machine: &Machine, number: usize) {
    let name = |number: usize| machine.path(&format!("var/log/logtail.log.{number}"));
    for number in (1..4).rev() {
        let _ = fs::rename(name(number), name(number + 1));
    }
    let record = machine.path("var/log/logtail.log");
    fs::rename(&record, name(1)).unwrap();
    append(&record, long(number));
}

#[test]
fn a_viewer_whose_reader_stands_still_holds_what_is_rotated_away() {
    for args in [&["-n", "1000"][..], &["--since", "1d"], &["-n", "0"]] {
        let machine = Machine::new();
        let record = machine.path("var/log/logtail.log");
        append(&record, if args == ["-n", "0"] { String::new() } else { long(0) });
        let mut child = machine.logtail(args).spawn().unwrap();
        has_open(child.id(), &record);
        // One more than have a name at the end.
        for number in 1..=6 {
            rotate(&machine, number);
            has_open(child.id(), &record);
        }
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        let begin = usize::from(args == ["-n", "0"]);
        for number in begin..=6 {
            for _ in 0..100 {
                let line = lines.next().unwrap().unwrap();
                assert!(line[25..].starts_with(&format!("x | {number} x")), "{args:?} {number}: {line}");
            }
        }
        child.kill().unwrap();
        child.wait().unwrap();
    }
}

#[test]
fn a_viewer_stopped_for_too_long_reports_possibly_missing_lines() {
    let machine = machine();
    let mut child = machine.logtail(&["-n", "1"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    let viewer = Follower::of(child);
    assert_eq!(viewer.line(), lines(&[3]).trim_end());
    let process = Pid::from_raw(viewer.child.id().try_into().unwrap());
    kill(process, Signal::SIGSTOP).unwrap();
    (0..6).for_each(|number| rotate(&machine, number));
    kill(process, Signal::SIGCONT).unwrap();
    assert_eq!(
        said.next().unwrap().unwrap(),
        "logtail: warning: logtail.log may be missing lines: it was rotated or truncated, and the last file read no longer exists"
    );
}
