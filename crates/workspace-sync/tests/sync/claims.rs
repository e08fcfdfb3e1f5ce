//! Several containers on one volume: whose a partial copy is, and how a container notices that it is not its own any
//! more.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;
use std::time::Duration;

use faultfs::{Fault, Pattern};
use kit::wait;

use crate::fixture::{CommandOutput, Failing, Site, claim_of};

const LONG: Duration = Duration::from_mins(1);

fn claim_file(site: &Site) -> PathBuf {
    site.partial().join(".sync_partial")
}

/// A partial copy that another container began.
fn begun_by_another(site: &Site) {
    fs::create_dir_all(site.partial()).unwrap();
    fs::write(claim_file(site), claim_of("other")).unwrap();
}

fn untouched_for(seconds: u64) -> Fault {
    Fault::Aged { seconds, files: Pattern::new("*/.sync_partial") }
}

#[test]
fn a_copy_that_another_container_makes_is_left_to_it_and_taken_over_once_that_is_gone() {
    let failing = Failing::new();
    let site = &failing.site;
    begun_by_another(site);
    failing.volume.inject(untouched_for(80));
    let output = site.run(&["run"]);
    assert_eq!(output.code, 1);
    assert!(output.stdout.contains("container \"pod-b\" is currently creating "), "{}", output.stdout);
    assert_eq!(site.leads_to(), site.image("micromamba"));
    assert_eq!(site.status()["state"], "copying");

    failing.volume.inject(untouched_for(20));
    assert_eq!(site.status()["state"], "partial");
    site.sync();
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(site.copy_differs_from(&site.image("micromamba")), [""; 0]);
    assert_eq!(site.status()["state"], "whole");
}

#[test]
fn a_container_made_from_a_saved_one_does_not_take_its_claim_for_its_own() {
    let site = Site::small();
    // Both have the name that was saved; the other one is in another namespace, and alive.
    site.run(&["status"]);
    begun_by_another(&site);
    let own = fs::read_to_string(site.root().join("memory/container")).unwrap();
    let twins = claim_of(&own).replace(kit::start_id::id(), "elsewhere");
    fs::write(claim_file(&site), &twins).unwrap();
    let claim = fs::File::options().write(true).open(claim_file(&site)).unwrap();
    let mut run = site.command(&["run"]).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    wait::until(LONG, "the end of the run", || {
        claim.set_modified(std::time::SystemTime::now()).unwrap();
        run.try_wait().unwrap()
    })
    .unwrap();
    let output = CommandOutput::of(run.wait_with_output().unwrap());
    assert!(output.stdout.contains("container \"pod-b\" is currently creating "), "{output:?}");
    assert_eq!(fs::read_to_string(claim_file(&site)).unwrap(), twins);
}

#[test]
fn a_container_whose_claim_was_taken_over_ends_and_switches_nothing() {
    let failing = Failing::new();
    let site = &failing.site;
    let run = failing.start();
    // As the other one does it: a new file in the place of the old.
    let theirs = failing.behind_partial().join(".sync_partial.other");
    fs::write(&theirs, claim_of("other")).unwrap();
    fs::rename(&theirs, failing.behind_partial().join(".sync_partial")).unwrap();
    let output = CommandOutput::of(run.wait_with_output().unwrap());
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("was taken over by another container, or is in use"), "{output:?}");
    assert_eq!(site.leads_to(), site.image("micromamba"));
    assert!(!site.copy().exists());
    assert_eq!(fs::read_to_string(claim_file(site)).unwrap(), claim_of("other"));
}

#[test]
fn a_directory_that_became_a_live_copy_meanwhile_is_not_pruned() {
    let failing = Failing::new();
    let site = &failing.site;
    let run = failing.start();
    // The container that it was taken over from came back and switched; its user works there.
    let live = site.root().join("backing/environments/micromamba-base-image");
    fs::rename(failing.behind_partial(), &live).unwrap();
    fs::write(live.join("thesis.tex"), "years of work").unwrap();
    let output = CommandOutput::of(run.wait_with_output().unwrap());
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stdout.contains("was taken over by another container, or is in use"), "{output:?}");
    assert_eq!(fs::read_to_string(live.join("thesis.tex")).unwrap(), "years of work");
    assert!(!live.join(".move_complete").exists());
}
