//! Killed under load again and again: nothing is lost, and lines come twice only where a kill was.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs::{self, File, OpenOptions};
use std::ops::Range;
use std::path::Path;
use std::thread;

use fixture::{DEADLINE, Machine, append};
use nix::sys::signal::Signal;
use nix::unistd::Pid;

const KILLS: usize = 25;
/// Lines that are written around each kill.
const LINES: usize = 1_000;
/// Lines between two rotations.
const ROTATION: usize = 1_000;

fn write(path: &Path, numbers: Range<usize>) {
    for number in numbers {
        if number > 0 && number.is_multiple_of(ROTATION) {
            let name = |number: usize| path.with_extension(format!("log.{number}"));
            for older in (1..9).rev() {
                let _ = fs::rename(name(older), name(older + 1));
            }
            if number.is_multiple_of(2 * ROTATION) {
                fs::rename(path, name(1)).unwrap();
            } else {
                // Nothing is written between copy and truncation, because this thread is the writer.
                fs::copy(path, name(1)).unwrap();
                OpenOptions::new().write(true).truncate(true).open(path).unwrap();
            }
        }
        append(path, format!("{number} {}\n", "x".repeat(number % 97)));
    }
}

/// The number of a whole line; half a line, which a kill can leave, has none.
fn number(line: &str) -> Option<usize> {
    let (number, rest) = line.strip_prefix("x | ")?.split_once(' ')?;
    let number = number.parse().ok()?;
    (rest == "x".repeat(number % 97)).then_some(number)
}

#[track_caller]
fn check(shown: &[usize]) {
    let jumps: Vec<_> = shown.windows(2).filter(|pair| pair[1] != pair[0] + 1).collect();
    assert!(jumps.iter().all(|pair| pair[1] <= pair[0]), "lines are missing: {jumps:?}");
    assert!(jumps.len() <= KILLS, "lines come twice without a kill: {jumps:?}");
    assert_eq!((shown.first(), shown.last()), (Some(&0), Some(&(KILLS * LINES + LINES - 1))));
}

#[test]
fn kills_under_load_lose_nothing_neither_in_the_output_nor_in_the_record() {
    let machine = Machine::new();
    let path = machine.log("x");
    let mut shown = Vec::new();
    for kill in 0..=KILLS {
        let out = machine.path(&format!("out.{kill}"));
        let numbers =
            || -> Vec<usize> { fs::read_to_string(&out).unwrap().lines().filter_map(number).collect() };
        let mut child = machine.logtail(&["follow"]).stdout(File::create(&out).unwrap()).spawn().unwrap();
        let begin = kill * LINES;
        // Any moment; the last time, all of it.
        let until = begin + if kill < KILLS { kill * 379 % LINES } else { LINES - 1 };
        // What is rotated before the very first start is old.
        let kept = || machine.path("var/lib/logtail/positions.json").exists().then_some(());
        kit::wait::until(DEADLINE, "positions", kept).unwrap();
        thread::scope(|scope| {
            scope.spawn(|| write(&path, begin..begin + LINES));
            kit::wait::until(DEADLINE, "lines", || (numbers().last() >= Some(&until)).then_some(())).unwrap();
            // Killed again and again before it could keep its place, it would fall behind by more files than it holds.
            let signal = if kill % 3 == 2 { Signal::SIGTERM } else { Signal::SIGKILL };
            nix::sys::signal::kill(Pid::from_raw(child.id().try_into().unwrap()), signal).unwrap();
            child.wait().unwrap();
        });
        shown.extend(numbers());
    }
    check(&shown);
    let names = (1..9).rev().map(|number| format!("var/log/logtail.log.{number}"));
    let texts = names.chain(["var/log/logtail.log".to_owned()]);
    let record: String = texts.filter_map(|name| fs::read_to_string(machine.path(&name)).ok()).collect();
    // Without their times.
    let recorded: Vec<usize> = record.lines().filter_map(|line| number(line.get(25..)?)).collect();
    check(&recorded);
}
