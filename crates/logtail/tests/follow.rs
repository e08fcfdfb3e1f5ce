//! `logtail follow`, the real binary.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs;
use std::io::{BufRead, BufReader, Read};
use std::os::fd::OwnedFd;
use std::process::{Command, Stdio};

use fixture::{DEADLINE, Follower, Machine, append, has_open};

#[test]
fn logs_of_boot_and_of_services_are_named_also_those_that_appear_later() {
    let machine = Machine::new();
    append(&machine.path("var/log/sync.log"), "copying\n");
    append(&machine.path("var/log/other.log"), "not ours\n");
    append(&machine.log("caddy"), "before\n");
    let follower = machine.follow();
    assert_eq!([follower.line(), follower.line()], ["sync | copying", "caddy | before"]);
    append(&machine.log("quicktunnel-8188"), "new\n");
    assert_eq!(follower.line(), "quicktunnel-8188 | new");
    append(&machine.log("caddy"), "after\n");
    assert_eq!(follower.line(), "caddy | after");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    assert_eq!(machine.record(), "sync | copying\ncaddy | before\nquicktunnel-8188 | new\ncaddy | after\n");
}

#[test]
fn a_directory_that_appears_later_is_followed() {
    let machine = Machine::new();
    fs::remove_dir(machine.path("var/log/supervisor")).unwrap();
    let follower = machine.follow();
    fs::create_dir(machine.path("var/log/supervisor")).unwrap();
    append(&machine.log("caddy"), "here\n");
    assert_eq!(follower.line(), "caddy | here");
}

#[test]
fn what_could_harm_a_terminal_is_shown_and_does_nothing() {
    let machine = Machine::new();
    append(&machine.log("x"), b"\x1b]0;title\x07\x1b[2Jred \0 \xff\n10 %\r100 %\r\n\x1b]52;c;no end\n");
    let follower = machine.follow();
    let lines = [follower.line(), follower.line(), follower.line()];
    assert_eq!(lines, ["x | red ␀ \\xff", "x | 100 %", "x | ␛]52;c;no end"]);
}

#[test]
fn ten_megabytes_without_a_newline_come_in_pieces() {
    let machine = Machine::new();
    let text = "0123456789".repeat(1_000_000);
    append(&machine.log("x"), &text);
    append(&machine.log("x"), "\nnext\n");
    let follower = machine.follow();
    let mut joined = String::new();
    loop {
        let line = follower.line();
        let line = line.strip_prefix("x | ").unwrap();
        if line == "next" {
            break;
        }
        assert!(line.len() < 16 * 1024);
        joined.push_str(line.trim_matches('…'));
    }
    assert!(joined == text);
}

#[test]
fn an_incomplete_line_is_shown_and_completed_later() {
    let machine = Machine::new();
    append(&machine.log("x"), "name? ");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | name? …");
    append(&machine.log("x"), "ada\n");
    assert_eq!(follower.line(), "x | …ada");
    append(&machine.log("x"), "and the end");
    follower.has_open(&machine.log("x"));
    assert_eq!(follower.stop(), (Some(0), vec!["x | and the end…".to_owned()]));
}

#[test]
fn a_restart_shows_nothing_twice_and_what_came_in_between() {
    let machine = Machine::new();
    let path = machine.log("x");
    append(&path, "1\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 1");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    append(&path, "2\n");
    fs::rename(&path, path.with_extension("log.1")).unwrap();
    append(&path, "3\n");
    append(&machine.log("y"), "first\n");
    let follower = machine.follow();
    let mut lines = [follower.line(), follower.line(), follower.line()];
    lines.sort();
    assert_eq!(lines, ["x | 2", "x | 3", "y | first"]);
}

#[test]
fn a_log_created_and_rotated_between_two_scans_is_read_from_its_first_file() {
    let machine = Machine::new();
    append(&machine.log("old"), "1\n");
    append(&machine.log("old").with_extension("log.1"), "of before the first start\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "old | 1");
    assert_eq!(follower.stop(), (Some(0), vec![]));
    append(&machine.log("x").with_extension("log.1"), "1\n");
    append(&machine.log("x"), "2\n");
    let follower = machine.follow();
    assert_eq!([follower.line(), follower.line()], ["x | 1", "x | 2"]);
    assert_eq!(follower.stop(), (Some(0), vec![]));
}

#[test]
fn while_the_output_is_blocked_files_are_opened_and_nothing_is_lost() {
    let machine = Machine::new();
    let path = machine.log("x");
    let line = |number: usize| format!("{number} {}\n", "x".repeat(1_000));
    let some: String = (0..1_000).map(line).collect();
    append(&path, &some);
    let child = machine.logtail(&["follow"]).spawn().unwrap();
    for number in 1_000..1_005 {
        has_open(child.id(), &path);
        fs::rename(&path, path.with_extension("log.1")).unwrap();
        append(&path, line(number));
    }
    has_open(child.id(), &path);
    let memory = fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let memory = memory.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    let kilobytes: u64 = memory.trim().trim_end_matches(" kB").parse().unwrap();
    assert!(kilobytes < 20_000, "an unoptimised program that waits needs {kilobytes} kB");
    let follower = Follower::of(child);
    for number in 0..1_005 {
        assert_eq!(follower.line(), format!("x | {}", line(number).trim_end()));
    }
}

#[test]
fn a_closed_output_is_success() {
    let machine = Machine::new();
    append(&machine.log("x"), "1\n");
    let mut child = machine.logtail(&["follow"]).spawn().unwrap();
    drop(child.stdout.take());
    let code = child.wait().unwrap().code();
    let mut said = String::new();
    child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
    assert_eq!((code, said.as_str()), (Some(0), ""));
}

#[test]
fn under_a_supervisor_lines_go_to_its_output_and_the_record_goes_on_without() {
    let machine = Machine::new();
    append(&machine.log("x"), "1\n");
    // The parent is cat's sibling: a shell whose output is our pipe, and logtail's own is not.
    let script = "\"$0\" follow --to-parent --root \"$1\" >/dev/null & echo $!; wait";
    let mut shell = Command::new("sh")
        .args(["-c", script, env!("CARGO_BIN_EXE_logtail")])
        .arg(machine.path(""))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut output = shell.stdout.take().unwrap();
    let mut text = Vec::new();
    while text.iter().filter(|&&byte| byte == b'\n').count() < 2 {
        let mut byte = [0];
        output.read_exact(&mut byte).unwrap();
        text.push(byte[0]);
    }
    let text = String::from_utf8(text).unwrap();
    // The shell and logtail write at the same time.
    let mut lines: Vec<&str> = text.lines().collect();
    lines.sort_unstable();
    let [pid, "x | 1"] = lines[..] else { panic!("{lines:?}") };
    drop(output);
    append(&machine.log("x"), "2\n");
    let written = || (machine.record() == "x | 1\nx | 2\n").then_some(());
    kit::wait::until(DEADLINE, "the record", written).unwrap();
    append(&machine.log("x"), "3\n");
    let written = || (machine.record() == "x | 1\nx | 2\nx | 3\n").then_some(());
    kit::wait::until(DEADLINE, "the record", written).unwrap();
    let pid = nix::unistd::Pid::from_raw(pid.parse().unwrap());
    nix::sys::signal::kill(pid, nix::sys::signal::Signal::SIGTERM).unwrap();
    shell.wait().unwrap();
}

#[test]
fn a_socket_without_a_reader_is_a_closed_output() {
    let machine = Machine::new();
    append(&machine.path("var/log/logtail.log"), "");
    for args in [&["follow"][..], &[]] {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().unwrap();
        let mut child = machine.logtail(args).stdout(OwnedFd::from(theirs)).spawn().unwrap();
        drop(ours);
        let ended = kit::wait::until(DEADLINE, "the end", || child.try_wait().unwrap());
        child.kill().unwrap();
        child.wait().unwrap();
        assert_eq!(ended.unwrap().code(), Some(0), "{args:?}");
    }
}

#[test]
fn positions_are_kept_also_while_there_is_always_more() {
    let machine = Machine::new();
    let line = format!("{}\n", "x".repeat(999));
    append(&machine.log("x"), line.repeat(40_000));
    let mut child = machine.logtail(&["follow"]).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    // Far more than is read here until the deadline.
    let mut positions = |other_than: &str| {
        kit::wait::until(DEADLINE, "positions", || {
            output.read_exact(&mut [0; 16 * 1024]).unwrap();
            let kept = fs::read_to_string(machine.path("var/lib/logtail/positions.json")).ok();
            kept.filter(|kept| kept != other_than)
        })
        .unwrap()
    };
    let begin = positions("");
    let first = positions(&begin);
    positions(&first);
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_second_follower_is_refused_because_every_line_would_be_there_twice() {
    let machine = Machine::new();
    append(&machine.log("x"), "1\n");
    let first = machine.follow();
    assert_eq!(first.line(), "x | 1");
    let second = machine.follow();
    let ended = kit::wait::until(DEADLINE, "the end", {
        let mut second = second;
        move || second.child.try_wait().unwrap()
    });
    assert_eq!(ended.unwrap().code(), Some(1));
    assert_eq!(machine.record(), "x | 1\n");
    assert_eq!(first.stop(), (Some(0), vec![]));
}

#[test]
fn a_log_that_is_gone_is_forgotten() {
    let machine = Machine::new();
    append(&machine.log("gone"), "");
    append(&machine.log("x"), "1\n");
    let follower = machine.follow();
    assert_eq!(follower.line(), "x | 1");
    follower.has_open(&machine.log("gone"));
    fs::remove_file(machine.log("gone")).unwrap();
    let forgotten = || {
        let positions =
            fs::read_to_string(machine.path("var/lib/logtail/positions.json")).unwrap_or_default();
        (positions.contains("/x.log") && !positions.contains("/gone.log")).then_some(())
    };
    kit::wait::until(DEADLINE, "positions without it", forgotten).unwrap();
    append(&machine.log("gone"), "again\n");
    assert_eq!(follower.line(), "gone | again");
}

#[test]
fn more_logs_are_followed_than_files_may_be_open_at_first() {
    let machine = Machine::new();
    for number in 100..200 {
        append(&machine.log(&number.to_string()), "x\n");
    }
    let mut shell = Command::new("sh");
    shell.args(["-c", "ulimit -S -n 64; exec \"$0\" follow --root \"$1\"", env!("CARGO_BIN_EXE_logtail")]);
    let follower = Follower::of(shell.arg(machine.path("")).stdout(Stdio::piped()).spawn().unwrap());
    let lines: Vec<_> = (100..200).map(|_| follower.line()).collect();
    assert_eq!(lines, (100..200).map(|number| format!("{number} | x")).collect::<Vec<_>>());
}

#[test]
fn positions_that_could_not_be_kept_are_kept_later() {
    let machine = Machine::new();
    append(&machine.log("x"), "1\n");
    let positions = machine.path("var/lib/logtail/positions.json");
    fs::create_dir_all(&positions).unwrap();
    let mut child = machine.logtail(&["follow"]).spawn().unwrap();
    let mut said = BufReader::new(child.stderr.take().unwrap()).lines();
    assert!(said.any(|line| line.unwrap().contains("cannot write")));
    let follower = Follower::of(child);
    fs::remove_dir(&positions).unwrap();
    kit::wait::until(DEADLINE, "positions", || positions.is_file().then_some(())).unwrap();
    assert_eq!(follower.line(), "x | 1");
}
