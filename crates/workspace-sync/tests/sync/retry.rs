//! Attempts that follow a failed one, as the supervised follower makes them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;
use std::time::Duration;

use faultfs::{Fault, Pattern};
use journal::{Event, Journal, Stage, StageResult, StageRun, Timeline};
use serde_json::Value;

use crate::fixture::{CommandOutput, Failing, Mount, Running, Site, Worker};

const LONG: Duration = Duration::from_mins(1);

fn journal(site: &Site) -> Journal {
    Journal::new(&site.root().join("boot.jsonl"))
}

/// The stage as late boot reports it.
fn stage(site: &Site) -> StageRun {
    Timeline::from_entries(&journal(site).read().unwrap()).stage_run(Stage::Sync).unwrap().clone()
}

/// A `run` of late boot that fails; returns its report.
#[track_caller]
fn fails(site: &Site) -> Value {
    let output = site.run(&["run", "--json"]);
    assert_eq!(output.code, 1, "{output:?}");
    let report: Value = serde_json::from_str(output.stdout.lines().next().unwrap()).unwrap();
    let text = |name: &str| report[name].as_str().map(str::to_owned);
    let (cause, hint) = (text("cause"), text("hint"));
    journal(site).append(Event::StageStarted { stage: Stage::Sync }).unwrap();
    let ended = Event::StageEnded { stage: Stage::Sync, result: StageResult::Failed, cause, hint };
    journal(site).append(ended).unwrap();
    report
}

#[test]
fn what_may_pass_is_retried_until_it_has_and_the_journal_says_so() {
    for fault in [Fault::NoSpace { after: 50_000 }, Fault::WriteError { byte: 100, files: Pattern::new("*") }]
    {
        let failing = Failing::new();
        let site = &failing.site;
        failing.volume.inject(fault);
        assert_eq!(fails(site)["retrying"], true);
        let mut follow = site.command(&["follow", "--retry-after", "20"]);
        let follow = Running::start(follow.stderr(Stdio::null()));
        // The longest pause, after several attempts.
        let is_announced = || {
            let told = stage(site);
            let hint = told.hint.filter(|hint| hint.contains("; retried automatically, next attempt in 1 s"));
            hint.map(|_| told.result)
        };
        let told = kit::wait::until(LONG, "the announcement of a later attempt", is_announced).unwrap();
        assert_eq!(told, Some(StageResult::Failed));
        assert_eq!(site.leads_to(), site.image("micromamba"));
        failing.volume.clear();
        follow.ends_well();
        assert_eq!(site.leads_to(), site.copy());
        assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
        let told = stage(site);
        assert_eq!((told.result, told.cause, told.hint), (Some(StageResult::Done), None, None));
    }
}

#[test]
fn a_run_that_cannot_begin_reports_the_cause() {
    let site = Site::small();
    let memory = site.root().join("memory");
    fs::create_dir(&memory).unwrap();
    let full = Mount::tmpfs(&memory, "nr_inodes=1");
    let report = fails(&site);
    let cause = report["cause"].as_str().unwrap();
    assert!(cause.contains("No space left on device") && cause.contains("memory/"), "{cause}");
    assert_eq!((&report["tree"], &report["retrying"]), (&Value::from("micromamba"), &Value::from(true)));
    assert_eq!(report["hint"], "free up space, then run: workspace-sync run");
    drop(full);
    site.sync();
    assert_eq!(stage(&site).cause, None);
}

#[test]
fn what_lasts_is_not_retried() {
    let cases: [(Fault, &str); 2] =
        [(Fault::NoSymlinks, "symbolic links"), (Fault::ReadOnly, "Read-only file system")];
    for (fault, cause) in cases {
        let failing = Failing::new();
        let site = &failing.site;
        failing.volume.inject(fault);
        assert_eq!(fails(site)["retrying"], Value::Null);
        let output = site.run(&["follow", "--retry-after", "1"]);
        assert_eq!(output.code, 0, "{output:?}");
        let told = stage(site);
        assert!(told.cause.unwrap().contains(cause));
        assert!(!told.hint.unwrap().contains("retried"));
    }
}

#[test]
fn a_copy_that_another_container_makes_is_used_once_it_is_whole() {
    let site = Site::small();
    fs::create_dir_all(site.partial()).unwrap();
    fs::write(site.partial().join(".sync_partial"), crate::fixture::claim_of("other")).unwrap();
    assert_eq!(fails(&site)["retrying"], true);
    let mut follow = site.command(&["follow", "--retry-after", "20"]);
    let follow = Running::start(follow.stderr(Stdio::null()));
    // The other container gives it up.
    fs::remove_dir_all(site.partial()).unwrap();
    follow.ends_well();
    assert_eq!(site.leads_to(), site.copy());
}

#[test]
fn a_successful_run_by_hand_ends_the_failure() {
    let failing = Failing::new();
    let site = &failing.site;
    failing.volume.inject(Fault::NoSpace { after: 0 });
    fails(site);
    failing.volume.clear();
    site.sync();
    assert_eq!(stage(site).result, Some(StageResult::Done));
}

#[test]
fn a_directory_whose_copy_is_whole_is_retried() {
    let mut site = Site::small();
    let app = site.active_link("app");
    fs::create_dir(&app).unwrap();
    site.set("OPT_SYNC", "app");
    // Nothing can be exchanged with it, and a program works there.
    fs::create_dir(site.image("app")).unwrap();
    let worker = Worker::at(&app);
    site.sync();
    drop(worker);
    assert_eq!(site.run(&["follow", "--retry-after", "1"]).code, 0);
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
}

#[test]
fn a_follower_that_is_told_to_end_does_not_wait_for_fix_perms() {
    let site = Site::small();
    let (programs, begun) = (site.root().join("bin"), site.root().join("begun"));
    fs::create_dir(&programs).unwrap();
    fs::write(
        programs.join("fix-perms"),
        format!("#!/bin/sh\necho > {}\nexec sleep infinity\n", begun.display()),
    )
    .unwrap();
    fs::set_permissions(programs.join("fix-perms"), fs::Permissions::from_mode(0o755)).unwrap();
    let own = programs.join("workspace-sync");
    fs::copy(env!("CARGO_BIN_EXE_workspace-sync"), &own).unwrap();
    let mut follow = site.command_of(&own, &["follow", "--retry-after", "1"]);
    let follow = Running::start(follow.stderr(Stdio::null()));
    kit::wait::until(LONG, "fix-perms", || begun.exists().then_some(())).unwrap();
    assert_eq!(site.leads_to(), site.copy());
    follow.stop();
}

#[test]
fn an_attempt_ends_with_a_follower_that_is_killed() {
    let site = Site::small();
    fs::write(site.provisioning(), "").unwrap();
    let mut follow = site.command(&["follow", "--retry-after", "1"]);
    let follow = Running::start(follow.stderr(Stdio::null()));
    let is_waiting = || site.status()["state"] == "waiting";
    kit::wait::until(LONG, "the attempt", || is_waiting().then_some(())).unwrap();
    // Killed, not asked to end.
    drop(follow);
    fs::remove_file(site.provisioning()).unwrap();
    let output: CommandOutput = site.sync();
    assert!(output.stdout.contains(": copied to "), "the lock was free: {output:?}");
}

#[test]
fn a_follower_that_is_told_to_end_takes_its_attempt_with_it() {
    let failing = Failing::new();
    let site = &failing.site;
    failing.volume.inject(Fault::NoSpace { after: 0 });
    fails(site);
    failing.volume.clear();
    failing.volume.inject(Fault::Slow(Duration::from_millis(20)));
    let mut follow = site.command(&["follow", "--retry-after", "20"]);
    let follow = Running::start(follow.stderr(Stdio::null()));
    kit::wait::until(LONG, "the copy", || {
        let mut names = fs::read_dir(failing.behind_partial()).ok()?;
        names.any(|entry| entry.unwrap().path().is_dir()).then_some(())
    })
    .unwrap();
    follow.stop();
    failing.volume.clear();
    let output: CommandOutput = site.sync();
    assert!(output.stdout.contains(": copied to "), "the lock was free: {output:?}");
}
