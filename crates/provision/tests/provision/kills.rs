//! Kills at random moments: the status is correct, nothing remains, and a script that succeeded does not run twice.

use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Stdio};
use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use provision::ReportOutcome::{Failed, Ran, Unchanged};

use crate::fixture::{Machine, lives, parse_output, until};

/// Writes its process id, starts a child that never exits, and succeeds after a while.
const SCRIPT: &str = "echo $$ > $WORKSPACE/pid; (while :; do sleep 0.02; done) & echo $! > $WORKSPACE/child; echo began >> $WORKSPACE/ran; sleep 0.15; echo ended >> $WORKSPACE/ran";

const CUT_SHORT: &str = "was interrupted; it is retried at the next start";
const FAILED: &str = "failed; it is retried at the next start";

fn start(machine: &Machine) -> Child {
    let mut command = machine.command(&["run", "--json"]);
    command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
}

fn pid(machine: &Machine, name: &str) -> i32 {
    machine.read(name).trim().parse().unwrap_or(0)
}

fn signal(process: i32, signal: Signal) {
    let _ = kill(Pid::from_raw(process), signal);
}

#[test]
fn the_script_and_all_that_it_started_die_with_a_killed_provision() {
    let machine = Machine::new();
    machine.mount("echo $$ > $WORKSPACE/pid; sleep 1000 & echo $! > $WORKSPACE/child; sleep 1000");
    let mut child = start(&machine);
    until("the script", || pid(&machine, "work/child") > 0);
    let (script, sleeper) = (pid(&machine, "work/pid"), pid(&machine, "work/child"));
    assert!(lives(script) && lives(sleeper));
    child.kill().unwrap();
    child.wait().unwrap();
    until("the end of the script", || !lives(script));
    until("the end of what it started", || !lives(sleeper));
    assert_eq!(machine.run_status(), CUT_SHORT);
}

#[test]
fn without_its_guard_a_script_ends_well_or_dies_with_provision() {
    let guard = |provision: u32| {
        let children = format!("/proc/{provision}/task/{provision}/children");
        let children = std::fs::read_to_string(children).unwrap_or_default();
        children.split_whitespace().map(|child| child.parse::<i32>().unwrap()).find(|child| {
            std::fs::read(format!("/proc/{child}/cmdline"))
                .unwrap_or_default()
                .starts_with(b"provision\0guard\0")
        })
    };
    for provision_too in [false, true] {
        let machine = Machine::new();
        machine.mount("echo $$ > $WORKSPACE/pid; until test -e $WORKSPACE/go; do :; done");
        let mut child = start(&machine);
        until("the script", || pid(&machine, "work/pid") > 0);
        signal(guard(child.id()).unwrap(), Signal::SIGKILL);
        if provision_too {
            child.kill().unwrap();
            child.wait().unwrap();
            until("the end of the script", || !lives(pid(&machine, "work/pid")));
        } else {
            std::fs::write(machine.path("work/go"), "").unwrap();
            assert_eq!(parse_output(&child.wait_with_output().unwrap()).report.outcome, Ran);
        }
    }
}

#[test]
fn on_sigterm_the_script_is_ended_first_and_the_end_is_recorded() {
    let mut machine = Machine::new();
    machine.time_divisor = "5";
    machine.mount("trap 'echo asked; exit 0' TERM; echo $$ > $WORKSPACE/pid; while :; do sleep 0.01; done");
    let child = start(&machine);
    until("the script", || pid(&machine, "work/pid") > 0);
    signal(i32::try_from(child.id()).unwrap(), Signal::SIGTERM);
    let result = parse_output(&child.wait_with_output().unwrap());
    let cause = "the script was stopped because provision received SIGTERM";
    assert_eq!((result.report.outcome, result.report.cause.as_deref()), (Failed, Some(cause)));
    assert_eq!(result.report.last_line.as_deref(), Some("asked"));
    assert!(!lives(pid(&machine, "work/pid")));
    assert_eq!(machine.run_status(), FAILED);
}

#[test]
fn success_is_recorded_before_background_processes_are_ended() {
    let mut machine = Machine::new();
    // 2.5 seconds between SIGTERM and SIGKILL.
    machine.time_divisor = "2";
    machine.mount(
        "echo ran >> $WORKSPACE/ran; (trap '' TERM; echo $BASHPID > $WORKSPACE/pid; while :; do sleep 0.01; done) & until test -s $WORKSPACE/pid; do sleep 0.01; done",
    );
    let mut child = start(&machine);
    until("the note", || machine.read("state/state.json").contains("\"ended\""));
    assert!(lives(pid(&machine, "work/pid")), "it is being asked to end at this moment");
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(machine.run().report.outcome, Unchanged);
    assert!(!lives(pid(&machine, "work/pid")));
    assert_eq!(machine.read("work/ran"), "ran\n");
}

#[test]
fn success_counts_although_a_signal_arrives_at_the_same_moment() {
    let machine = Machine::new();
    machine.mount("echo $$ > $WORKSPACE/pid; until test -e $WORKSPACE/go; do sleep 0.01; done");
    let child = start(&machine);
    let provision = i32::try_from(child.id()).unwrap();
    until("the script", || pid(&machine, "work/pid") > 0);
    // It receives both only when it continues.
    signal(provision, Signal::SIGSTOP);
    std::fs::write(machine.path("work/go"), "").unwrap();
    until("the end of the script", || !lives(pid(&machine, "work/pid")));
    signal(provision, Signal::SIGTERM);
    signal(provision, Signal::SIGCONT);
    assert_eq!(parse_output(&child.wait_with_output().unwrap()).report.outcome, Ran);
    assert_eq!(machine.run_status(), "exited successfully");
}

#[test]
fn a_script_that_fails_in_a_run_that_was_waited_for_does_not_run_again_in_the_same_attempt() {
    let machine = Machine::new();
    machine.mount(
        "echo x >> $WORKSPACE/ran; until test -e $WORKSPACE/go; do sleep 0.01; done; echo result; exit 3",
    );
    let run = |attempt: &str| {
        let mut command = machine.command(&["run", "--json", "--wait", "--attempt", attempt]);
        command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap()
    };
    let outlives_its_boot = run("1");
    until("the script", || machine.read("work/ran") == "x\n");
    let next_boot = run("1");
    std::fs::write(machine.path("work/go"), "").unwrap();
    for child in [outlives_its_boot, next_boot] {
        let report = parse_output(&child.wait_with_output().unwrap()).report;
        assert_eq!((report.outcome, report.exit_code), (Failed, Some(3)));
        assert_eq!(report.cause.as_deref(), Some("the script failed with exit code 3"));
    }
    assert_eq!(machine.read("work/ran"), "x\n");
    let step = "provision: this script has already failed in this late boot; skipped";
    assert!(machine.log().contains(&step.to_owned()), "{:?}", machine.log());
    run("2").wait_with_output().unwrap();
    assert_eq!(machine.read("work/ran"), "x\nx\n", "who starts late boot again wants it tried again");
}

#[test]
fn a_stop_ends_who_waits_and_not_the_script() {
    let machine = Machine::new();
    machine.mount("echo $$ > $WORKSPACE/pid; until test -e $WORKSPACE/go; do sleep 0.01; done");
    let first = start(&machine);
    until("the script", || pid(&machine, "work/pid") > 0);
    let mut waiting = machine.command(&["run", "--json", "--wait", "--attempt", "1"]);
    let mut waiting = waiting.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    let descriptors = format!("/proc/{}/fd", waiting.id());
    until("that it waits for the lock", || {
        let mut links = std::fs::read_dir(&descriptors)
            .unwrap()
            .filter_map(|entry| std::fs::read_link(entry.ok()?.path()).ok());
        links.any(|link| link == machine.path("state/lock"))
    });
    signal(i32::try_from(waiting.id()).unwrap(), Signal::SIGTERM);
    assert_eq!(waiting.wait().unwrap().signal(), Some(15));
    std::fs::write(machine.path("work/go"), "").unwrap();
    assert_eq!(parse_output(&first.wait_with_output().unwrap()).report.outcome, Ran);
}

#[test]
fn a_run_that_starts_while_a_script_is_being_ended_waits() {
    let mut machine = Machine::new();
    // A second between SIGTERM and SIGKILL: longer than a run waits without --wait.
    machine.time_divisor = "5";
    machine.mount(
        "trap '' TERM; echo x >> $WORKSPACE/ran; echo $$ > $WORKSPACE/pid; until test $(wc -l < $WORKSPACE/ran) -gt 1; do sleep 0.01; done",
    );
    let mut told = start(&machine);
    until("the script", || pid(&machine, "work/pid") > 0);
    let first = pid(&machine, "work/pid");
    assert!(!machine.read("state/lock").trim().is_empty());
    signal(i32::try_from(told.id()).unwrap(), Signal::SIGTERM);
    until("the lock's word that it is being ended", || machine.read("state/lock").trim().is_empty());
    assert_eq!(machine.run().report.outcome, Ran);
    assert!(!lives(first));
    assert_eq!(machine.read("work/ran"), "x\nx\n");
    assert!(!told.wait().unwrap().success());
}

#[test]
fn kills_at_any_moment_leave_the_truth() {
    // A fixed xorshift generator (Marsaglia), so that a failure can be repeated.
    let mut random = 0x9e37_79b9_7f4a_7c15_u64;
    let mut next = |below: u64| {
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        random % below
    };
    let machine = Machine::new();
    machine.mount(SCRIPT);
    let mut cut = 0;
    let mut earlier = "has not run".to_owned();
    for round in 0..40 {
        let before = machine.read("work/ran");
        // Their ids may have been reused.
        for numbers in ["work/pid", "work/child"] {
            let _ = std::fs::remove_file(machine.path(numbers));
        }
        let child = start(&machine);
        thread::sleep(Duration::from_millis(next(260)));
        let provision = i32::try_from(child.id()).unwrap();
        let whom = if next(3) == 0 { pid(&machine, "work/pid") } else { provision };
        let killed = whom > 0 && lives(whom);
        if killed {
            signal(whom, Signal::SIGKILL);
            cut += 1;
        }
        let output = child.wait_with_output().unwrap();
        until("the script", || !lives(pid(&machine, "work/pid")));
        until("the script's child", || !lives(pid(&machine, "work/child")));
        let state = machine.run_status();
        let ended = machine.read("work/ran").matches("ended").count();
        let told_end = before.matches("ended").count();
        let was = |words: &str| state == words;
        let truth = was("exited successfully")
            || killed && whom == provision && (was(CUT_SHORT) || state == earlier)
            || killed && whom != provision && was(FAILED);
        assert!(truth, "round {round}: {state} after {earlier}, {whom} of {provision} killed: {killed}");
        earlier.clone_from(&state);
        match state.as_str() {
            "exited successfully" => {
                assert!(ended >= 1, "round {round}: {output:?}");
                let well = machine.run();
                assert_eq!(well.report.outcome, Unchanged, "round {round}");
                assert_eq!(machine.read("work/ran").matches("ended").count(), ended, "round {round}");
                assert!(ended == told_end + 1 || told_end == ended, "round {round}");
                std::fs::remove_dir_all(machine.path("state")).unwrap();
                "has not run".clone_into(&mut earlier);
            }
            "has not run" => assert_eq!(ended, told_end, "round {round}"),
            _ => {}
        }
    }
    assert!(cut > 10, "{cut}");
    let last = machine.run();
    assert!(matches!(last.report.outcome, Ran | Unchanged), "{last:?}");
}

impl Machine {
    /// The state, once nothing runs any more.
    fn run_status(&self) -> String {
        until("the guard", || self.status()["state"] != "running");
        self.status()["state"].clone()
    }
}
