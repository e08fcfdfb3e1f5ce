//! Attempts that follow a failed one, as the supervised follower makes them.

use std::fs;
use std::process::Stdio;
use std::time::Duration;

use faultfs::{Fault, Pattern};
use journal::{Course, Event, Journal, Stage, StageResult, Timeline};
use serde_json::Value;

use crate::site::{Failing, Running, Said, Site};

const LONG: Duration = Duration::from_mins(1);

fn journal(site: &Site) -> Journal {
    Journal::at(&site.root().join("boot.jsonl"))
}

/// The stage as late boot reports it.
fn stage(site: &Site) -> Course {
    Timeline::of(&journal(site).read().unwrap()).course(Stage::Sync).unwrap().clone()
}

/// A `run` of late boot that fails; returns its report.
#[track_caller]
fn fails(site: &Site) -> Value {
    let said = site.run(&["run", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let report: Value = serde_json::from_str(said.stdout.lines().next().unwrap()).unwrap();
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
fn what_lasts_is_not_retried() {
    let cases: [(Fault, &str); 2] =
        [(Fault::NoSymlinks, "symbolic links"), (Fault::ReadOnly, "Read-only file system")];
    for (fault, cause) in cases {
        let failing = Failing::new();
        let site = &failing.site;
        failing.volume.inject(fault);
        assert_eq!(fails(site)["retrying"], Value::Null);
        let said = site.run(&["follow", "--retry-after", "1"]);
        assert_eq!(said.code, 0, "{said:?}");
        let told = stage(site);
        assert!(told.cause.unwrap().contains(cause));
        assert!(!told.hint.unwrap().contains("retried"));
    }
}

#[test]
fn a_copy_that_another_container_makes_is_used_once_it_is_whole() {
    let site = Site::small();
    fs::create_dir_all(site.partial()).unwrap();
    fs::write(site.partial().join(".sync_partial"), crate::site::claim_of("other")).unwrap();
    assert_eq!(fails(&site)["retrying"], true);
    let mut follow = site.command(&["follow", "--retry-after", "20"]);
    let follow = Running::start(follow.stderr(Stdio::null()));
    // The other container gives it up.
    fs::remove_dir_all(site.partial()).unwrap();
    follow.ends_well();
    assert_eq!(site.leads_to(), site.copy());
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
    let said: Said = site.sync();
    assert!(said.stdout.contains(": copied to "), "the lock was free: {said:?}");
}
