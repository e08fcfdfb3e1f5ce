//! `x-20261128.log` is a log of its own, or a rotated file of `x.log`.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;

use fixture::{Follower, Machine, append};

/// The next lines, of several logs in any order.
#[track_caller]
fn lines<const N: usize>(follower: &Follower) -> BTreeSet<String> {
    [(); N].map(|()| follower.line()).into()
}

#[test]
fn a_dated_log_stays_one_of_its_own_when_an_undated_one_appears() {
    let link = |log: &Path| symlink("app-20261128.log", log).unwrap();
    let directory = |log: &Path| fs::create_dir(log).unwrap();
    let file = |log: &Path| append(log, "undated\n");
    for (appears, shown) in
        [(&link as &dyn Fn(&Path), None), (&directory, None), (&file, Some("app | undated"))]
    {
        let machine = Machine::new();
        let dated = machine.log("app-20261128");
        append(&dated, "1\n");
        let follower = machine.follow();
        assert_eq!(follower.line(), "app-20261128 | 1");
        appears(&machine.log("app"));
        let refused = shown.is_none().then(|| {
            let app = machine.log("app");
            format!("logtail | cannot read {}: it is not a regular file", app.display())
        });
        assert_eq!(follower.line(), refused.as_deref().or(shown).unwrap());
        if refused.is_some() {
            append(&machine.log("app-20261129"), "next\n");
            assert_eq!(follower.line(), "app-20261129 | next");
        }
        append(&dated, "2\n");
        assert_eq!(follower.line(), "app-20261128 | 2");
        assert_eq!(follower.stop(), (Some(0), Vec::new()));
        append(&dated, "3\n");
        let follower = machine.follow();
        let mut got = vec![follower.line()];
        if let Some(refused) = refused {
            got.push(follower.line());
            got.sort();
            assert_eq!(got, ["app-20261128 | 3".to_owned(), refused]);
        } else {
            assert_eq!(got, ["app-20261128 | 3"]);
        }
        assert_eq!(follower.stop(), (Some(0), Vec::new()));
    }
}

#[test]
fn a_dated_log_with_other_lines_than_the_undated_one_is_one_of_its_own() {
    let machine = Machine::new();
    append(&machine.log("train"), "epoch 1 of yesterday\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "train | epoch 1 of yesterday");
    append(&machine.log("train-20261128-101500"), "");
    append(&machine.log("train"), "2\n");
    assert_eq!(follower.line(), "train | 2");
    // As far as this it may be a copy in the making.
    append(&machine.log("train-20261128-101500"), "epoch 1 of ");
    append(&machine.log("train"), "3\n");
    assert_eq!(follower.line(), "train | 3");
    append(&machine.log("train-20261128-101500"), "today\n");
    assert_eq!(follower.line(), "train-20261128-101500 | epoch 1 of today");
    assert_eq!(follower.stop(), (Some(0), Vec::new()));
    append(&machine.log("train-20261128-101500"), "4\n");
    append(&machine.log("train-20261129-101500"), "tomorrow\n");
    append(&machine.log("train"), "5\n");
    let follower = machine.follow();
    let all = ["train-20261128-101500 | 4", "train-20261129-101500 | tomorrow", "train | 5"];
    assert_eq!(lines::<3>(&follower), all.map(str::to_owned).into());
    assert_eq!(follower.stop(), (Some(0), Vec::new()));
}

#[test]
fn a_dated_copy_of_a_log_is_not_shown() {
    let machine = Machine::new();
    let log = machine.log("x");
    append(&log, "1\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 1");
    for day in 26..29 {
        fs::copy(&log, machine.log(&format!("x-202611{day}"))).unwrap();
        append(&log, format!("{day}\n"));
        assert_eq!(follower.line(), format!("x | {day}"));
        fs::write(&log, "").unwrap();
        append(&log, format!("after {day}\n"));
        assert_eq!(follower.line(), format!("x | after {day}"));
    }
    assert_eq!(follower.stop(), (Some(0), Vec::new()));
    let follower = machine.follow();
    append(&log, "end\n");
    assert_eq!(follower.line(), "x | end");
    assert_eq!(follower.stop(), (Some(0), Vec::new()));
}

/// A machine whose log `x` was read, got another line, and was renamed.
fn renamed_while_stopped(name: &str) -> Machine {
    let machine = Machine::new();
    append(&machine.log("x"), "1\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 1");
    assert_eq!(follower.stop(), (Some(0), Vec::new()));
    append(&machine.log("x"), "2\n");
    fs::rename(machine.log("x"), machine.log(name)).unwrap();
    machine
}

#[test]
fn a_log_renamed_between_two_runs_is_continued() {
    for name in ["x-20261128", "y"] {
        let machine = renamed_while_stopped(name);
        let follower = machine.follow();
        assert_eq!(follower.line(), format!("{name} | 2"));
        append(&machine.log(name), "3\n");
        assert_eq!(follower.line(), format!("{name} | 3"));
        assert_eq!(follower.stop(), (Some(0), Vec::new()));
    }
}

#[test]
fn a_log_whose_rotated_files_look_like_logs_is_shown_once() {
    let machine = Machine::new();
    let log = machine.log("x");
    let name = |number: u32| machine.log(&format!("x.{number}"));
    append(&log, "");
    append(&name(1), "of its own\n");
    for run in 0..2 {
        let follower = machine.follow();
        if run == 0 {
            assert_eq!(follower.line(), "x.1 | of its own");
        }
        for number in (run * 3)..(run * 3 + 3) {
            append(&log, format!("{number}\n"));
            assert_eq!(follower.line(), format!("x | {number}"));
            for older in (1..=number + 1).rev() {
                let _ = fs::rename(name(older), name(older + 1));
            }
            fs::rename(&log, name(1)).unwrap();
            append(&log, "next\n");
            assert_eq!(follower.line(), "x | next");
        }
        assert_eq!(follower.stop(), (Some(0), Vec::new()));
    }
}

#[test]
fn the_rest_of_a_log_that_is_renamed_beside_its_successor_is_read_whatever_its_new_name() {
    for name in ["x_old", "xold", "x-old", "a"] {
        let machine = renamed_while_stopped(name);
        append(&machine.log("x"), "3\n");
        let follower = machine.follow();
        assert_eq!([follower.line(), follower.line()], ["x | 2", "x | 3"]);
        append(&machine.log(name), "4\n");
        assert_eq!(follower.line(), "x | 4");
        assert_eq!(follower.stop(), (Some(0), Vec::new()));
        let follower = machine.follow();
        append(&machine.log("x"), "5\n");
        assert_eq!(follower.line(), "x | 5");
        assert_eq!(follower.stop(), (Some(0), Vec::new()));
    }
}
