//! Processes that are ended with a script, and those that are not.

use std::fs;

use nix::sys::signal::{Signal, killpg};
use nix::unistd::Pid;
use provision::ReportOutcome::{Failed, Ran, Unchanged};

use crate::fixture::{Machine, lives, until};
use crate::script_runs::{number, run};

#[test]
fn a_program_that_is_left_behind_is_ended_and_named_with_the_way_out() {
    let (machine, result) =
        run("sleep 1000 & echo $! > $WORKSPACE/pid; until grep -q sleep /proc/$!/comm; do :; done");
    assert_eq!(result.report.outcome, Ran);
    let left = number(&machine.read("work/pid"));
    assert!(!lives(left));
    let advice = format!(
        "provision: warning: stopped background processes of the script: sleep ({left}); to keep one running, make it a supervisord program, or start it with setsid"
    );
    assert!(machine.log().contains(&advice), "{:?}", machine.log());
}

#[test]
fn a_program_that_prints_for_ever_is_ended_like_any_other() {
    let machine = Machine::new();
    machine.mount("(trap '' TERM; exec yes flood) & echo $! > $WORKSPACE/pid; sleep 0.1");
    let result = machine.run_with(&["--log-limit", "1000000"]);
    assert_eq!(result.report.outcome, Ran);
    assert!(!lives(number(&machine.read("work/pid"))));
}

#[test]
fn a_program_that_does_not_want_to_end_is_killed() {
    let script = "(trap '' TERM; echo $BASHPID > $WORKSPACE/pid; while :; do sleep 0.01; done) & until test -s $WORKSPACE/pid; do sleep 0.01; done";
    let (machine, result) = run(script);
    assert_eq!(result.report.outcome, Ran);
    assert!(!lives(number(&machine.read("work/pid"))));
    assert!(
        machine
            .log()
            .iter()
            .any(|line| line.starts_with("provision: killed after it did not exit on SIGTERM: "))
    );
}

#[test]
fn a_program_of_its_own_session_stays_and_can_go_on_printing() {
    let script = "setsid sh -c 'echo $$ > $WORKSPACE/pid; until test -e $WORKSPACE/go; do sleep 0.01; done; for i in 1 2 3; do echo still here; done; echo alive > $WORKSPACE/alive; sleep 1000' & until test -s $WORKSPACE/pid; do sleep 0.01; done";
    let (machine, result) = run(script);
    assert_eq!(result.report.outcome, Ran);
    let stays = number(&machine.read("work/pid"));
    assert!(lives(stays));
    let line = format!("provision: still running in its own session: sh ({stays})");
    assert!(machine.log().iter().any(|found| found.starts_with(&line)), "{:?}", machine.log());
    fs::write(machine.path("work/go"), "").unwrap();
    until("a daemon that prints without a reader", || machine.read("work/alive") == "alive\n");
    assert!(lives(stays));
    assert_eq!(machine.run().report.outcome, Unchanged, "the lock is free");
    killpg(Pid::from_raw(stays), Signal::SIGKILL).unwrap();
}

#[test]
fn a_script_that_never_ends_is_ended_at_its_limit() {
    let mut machine = Machine::new();
    machine.set("PROVISIONING_TIMEOUT", "3s");
    machine.mount("echo $$ > $WORKSPACE/pid; echo waiting; sleep 1000");
    let result = machine.run();
    let cause = "the script exceeded PROVISIONING_TIMEOUT (3 s) and was stopped";
    assert_eq!((result.report.outcome, result.report.cause.as_deref()), (Failed, Some(cause)));
    assert_eq!(result.report.last_line.as_deref(), Some("waiting"));
    assert!(!lives(number(&machine.read("work/pid"))));
    assert_eq!(machine.status()["cause"], cause);
    machine.mount("exit 0");
    machine.set("PROVISIONING_TIMEOUT", "210000000000000d");
    assert_eq!(machine.run().report.outcome, Ran, "longer than any clock");
    machine.set("PROVISIONING_TIMEOUT", "soon");
    machine.mount("exit 0 ");
    assert_eq!(machine.run().report.outcome, Ran);
    let warning = "provision: warning: PROVISIONING_TIMEOUT: \"soon\" is not a time such as 90s, 30m or 2h; running without a time limit";
    assert!(machine.log().contains(&warning.to_owned()));
}
