//! A thousand rotations of each kind while a program writes: what comes out is what went in.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod machine;

use std::fs;
use std::path::Path;

use machine::{Follower, Machine, append};
use sha2::{Digest, Sha256};

const ROTATIONS: usize = 1_000;
/// Lines between two rotations.
const LINES: usize = 40;

/// Writes and rotates; `ahead` is how many rotated files the writer may be ahead of what was printed, because a file that has
/// no name any more when it is looked for cannot be found by anybody.
fn check(ahead: usize, rotate: impl Fn(&Path)) {
    let machine = Machine::new();
    let path = machine.log("x");
    append(&path, "");
    let follower = machine.follow();
    // What was rotated before it came is not its business.
    follower.has_open(&path);
    let (mut written, mut printed) = (Sha256::new(), Sha256::new());
    let (mut lines, mut seen) = (0, 0);
    let mut read = |follower: &Follower, until: usize| {
        while seen < until {
            let line = follower.line();
            let number = line.strip_prefix("x | ").and_then(|line| line.split(' ').next());
            assert_eq!(number.and_then(|number| number.parse().ok()), Some(seen), "{line}");
            printed.update(line.strip_prefix("x | ").unwrap());
            printed.update("\n");
            seen += 1;
        }
    };
    for rotation in 0..ROTATIONS {
        for _ in 0..LINES {
            let line = format!("{lines} of rotation {rotation} {}\n", "x".repeat(lines % 97));
            written.update(&line);
            // Two writes, so that rotations also meet halves of lines.
            let (one, other) = line.split_at(line.len() / 2);
            append(&path, one);
            append(&path, other);
            lines += 1;
        }
        read(&follower, (rotation + 1).saturating_sub(ahead) * LINES);
        rotate(&path);
    }
    read(&follower, lines);
    let (code, rest) = follower.stop();
    assert_eq!((code, rest.first(), rest.len()), (Some(0), None, 0), "nothing comes twice");
    assert_eq!(printed.finalize(), written.finalize());
}

fn shift(path: &Path, keep: u32) {
    let name = |number| path.with_extension(format!("log.{number}"));
    for number in (1..keep).rev() {
        let _ = fs::rename(name(number), name(number + 1));
    }
}

/// As logrotate does it by default.
#[test]
fn renamed_with_six_kept() {
    check(4, |path| {
        shift(path, 6);
        fs::rename(path, path.with_extension("log.1")).unwrap();
        append(path, "");
    });
}

/// As supervisord does it here.
#[test]
fn renamed_with_one_kept() {
    check(1, |path| {
        fs::rename(path, path.with_extension("log.1")).unwrap();
        append(path, "");
    });
}

/// As `copytruncate` of logrotate does it.
#[test]
fn copied_and_cut() {
    check(4, |path| {
        shift(path, 6);
        fs::copy(path, path.with_extension("log.1")).unwrap();
        fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
    });
}

/// As `supervisorctl clear` does it.
#[test]
fn deleted_and_made_anew() {
    check(0, |path| {
        fs::remove_file(path).unwrap();
        append(path, "");
    });
}
