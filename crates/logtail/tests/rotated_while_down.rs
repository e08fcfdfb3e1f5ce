//! Logs that programs rotate to names of their own while no follower runs are read; removed ones are reported.

// clippy's exception for tests does not cover functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use fixture::{DEADLINE, Machine, append};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Prints with Python's logging handler, which rotates after each part, a day later each time.
const PYTHON: &str = "
import logging.handlers, sys
handler = logging.handlers.TimedRotatingFileHandler(sys.argv[1], when=sys.argv[2], backupCount=9)
for day, part in enumerate(sys.argv[3:]):
    handler.rolloverAt = 1 << 40
    for number in range(*map(int, part.split('-'))):
        handler.emit(logging.LogRecord('x', 20, '', 0, str(number), None, None))
    handler.rolloverAt = 1795824000 + day * 86400
    handler.doRollover()
";

const GONE: &str =
    "logtail | x may be missing lines: it was rotated or truncated, and the last file read no longer exists";

/// Output of a second follower, after a first one has printed the lines that exist before `meanwhile`.
fn printed(before: &str, meanwhile: impl FnOnce(&Path)) -> Vec<String> {
    let machine = Machine::new();
    let log = machine.log("x");
    append(&log, "");
    let first = machine.follow();
    first.has_open(&log);
    append(&log, before);
    assert!(before.lines().all(|line| first.line() == format!("x | {line}")));
    assert_eq!(first.stop(), (Some(0), Vec::new()));
    meanwhile(&log);
    let second = machine.follow();
    append(&log, "end\n");
    let mut lines = Vec::new();
    while lines.last().is_none_or(|line| line != "x | end") {
        lines.push(second.line());
    }
    lines.pop();
    // A gap found by the last scan is reported after the lines.
    lines.extend(second.stop().1);
    lines
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|number| format!("x | {number}")).collect()
}

#[test]
fn files_that_python_names_by_the_day_are_read() {
    for when in ["S", "midnight"] {
        let lines = printed("0\n", |log| {
            let mut command = Command::new("python3");
            command.args(["-c", PYTHON]).arg(log).args([when, "1-200", "200-400"]);
            assert!(command.status().unwrap().success());
            append(log, "400\n");
        });
        assert_eq!(lines, numbers(1..401), "{when}");
    }
}

#[test]
fn files_that_logrotate_names_by_the_day_are_read_also_compressed_ones() {
    let lines = printed("0\n1\n", |log| {
        append(log, "2\n");
        for day in 26..29 {
            let to = log.with_extension(format!("log-202611{day}"));
            fs::rename(log, &to).unwrap();
            append(log, format!("{day}\n"));
            if day < 28 {
                assert!(Command::new("gzip").arg(to).status().unwrap().success());
            }
        }
    });
    assert_eq!(lines, ["2", "26", "27", "28"].map(|text| format!("x | {text}")));
}

#[test]
fn several_rotations_to_elsewhere_while_the_follower_stands_still_are_reported() {
    let machine = Machine::new();
    let log = machine.log("x");
    append(&log, "0\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 0");
    let pid = Pid::from_raw(follower.child.id().try_into().unwrap());
    for rotations in [1, 2] {
        let stopped = Instant::now();
        kill(pid, Signal::SIGSTOP).unwrap();
        kit::wait::until(DEADLINE, "the stop", || {
            fs::read_to_string(format!("/proc/{pid}/stat")).unwrap().contains(") T ").then_some(())
        })
        .unwrap();
        append(&log, "1\n");
        for rotation in 0..rotations {
            fs::rename(&log, machine.path(&format!("var/log/away.{rotations}.{rotation}"))).unwrap();
            append(&log, "end\n");
        }
        kill(pid, Signal::SIGCONT).unwrap();
        let mut lines = vec![follower.line(), follower.line()];
        // Two rotations lost the line between them. One rotation that takes as long as two is reported needlessly.
        let is_reported = lines[0] == GONE;
        if is_reported {
            lines.push(follower.line());
        }
        assert_eq!(lines[usize::from(is_reported)..], ["x | 1", "x | end"]);
        assert!(is_reported || (rotations == 1), "{lines:?}");
        assert!(!is_reported || rotations == 2 || stopped.elapsed() > Duration::from_secs(1), "{lines:?}");
    }
    assert_eq!(follower.stop(), (Some(0), Vec::new()));
}

#[test]
fn what_cannot_be_read_or_is_gone_is_reported() {
    let away = |log: &Path| fs::rename(log, log.with_file_name("elsewhere")).unwrap();
    let cut = |log: &Path| fs::write(log, "").unwrap();
    let packed = |log: &Path| fs::rename(log, log.with_extension("log-20261128.xz")).unwrap();
    for meanwhile in [&away as &dyn Fn(&Path), &cut, &|log| fs::remove_file(log).unwrap()] {
        let lines = printed("0\n", |log| {
            append(log, "1\n");
            meanwhile(log);
            append(log, "2\n");
        });
        assert_eq!(
            lines.iter().collect::<BTreeSet<_>>(),
            BTreeSet::from([&GONE.to_owned(), &"x | 2".to_owned()])
        );
    }
    let lines = printed("0\n", |log| {
        append(log, "1\n");
        fs::write(log.with_extension("log-20261127.gz"), "damaged").unwrap();
        packed(log);
        append(log, "2\n");
    });
    assert_eq!(lines.last().unwrap(), "x | 2");
    assert!(
        lines[..lines.len() - 1].iter().all(|line| line.starts_with("logtail | x may be missing lines: "))
    );
    assert!(lines.iter().any(|line| line.contains("cannot decompress x.log-20261127.gz: ")), "{lines:?}");
}
