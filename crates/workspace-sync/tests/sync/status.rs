//! `status --json` in every state; `copying` and `partial` are tested with the claims.

use std::fs;
use std::os::unix::fs::symlink;

use crate::fixture::Site;

/// `in_use`, `state`, and how many steps `run` would take.
#[track_caller]
fn told(site: &Site) -> (String, String, usize) {
    let status = site.status();
    let text = |name: &str| status[name].as_str().unwrap().to_owned();
    (text("in_use"), text("state"), status["next"].as_array().unwrap().len())
}

fn is(in_use: &str, state: &str, steps: usize) -> (String, String, usize) {
    (in_use.to_owned(), state.to_owned(), steps)
}

#[test]
fn status_tells_each_stage() {
    let site = Site::small();
    assert_eq!(told(&site), is("image", "absent", 3));
    site.sync();
    assert_eq!(told(&site), is("workspace", "whole", 0));
    let status = site.status();
    assert_eq!(status["image_generation"], status["copy_generation"]);
    assert_eq!((&status["settling"], &status["problem"]), (&false.into(), &serde_json::Value::Null));

    fs::write(site.image("micromamba").join("newer"), "2").unwrap();
    site.forget();
    site.sync();
    let status = site.status();
    assert_eq!(status["problem"], "the image has a different generation than the copy");
    assert_eq!(status["hint"], "workspace-sync refresh micromamba");
    assert_eq!(site.run(&["refresh", "micromamba"]).code, 0);
    let refreshed = site.status();
    assert_eq!(refreshed["previous_generation"], status["copy_generation"]);
    assert_eq!(refreshed["copy_generation"], status["image_generation"]);

    fs::rename(site.copy(), site.root().join("aside")).unwrap();
    assert_eq!(told(&site), is("workspace", "absent", 4));
    fs::create_dir(site.copy()).unwrap();
    assert_eq!(told(&site), is("workspace", "foreign", 1));
    fs::remove_dir(site.copy()).unwrap();
    fs::create_dir(site.partial()).unwrap();
    fs::write(site.partial().join("thesis.tex"), "").unwrap();
    assert_eq!(told(&site), is("workspace", "foreign", 4), "nor is that a copy of ours");
}

#[test]
fn status_tells_what_is_at_the_active_link_instead_of_a_link_of_ours() {
    let mut site = Site::small();
    let active_link = site.active_link("micromamba");
    fs::remove_file(&active_link).unwrap();
    fs::create_dir(&active_link).unwrap();
    assert_eq!(told(&site).0, "directory");
    fs::remove_dir(&active_link).unwrap();
    assert_eq!(told(&site), is("other", "absent", 4), "a link of ours that is gone is made again");
    symlink("/somewhere", &active_link).unwrap();
    assert_eq!(told(&site), is("other", "absent", 0));
    assert!(site.status()["problem"].as_str().unwrap().contains("is a link to /somewhere"));
    fs::remove_file(&active_link).unwrap();
    symlink(site.image("micromamba"), &active_link).unwrap();
    site.set("WORKSPACE_MOUNTED", "false");
    assert_eq!(told(&site), is("image", "absent", 0));
    assert_eq!(site.status()["problem"], "WORKSPACE_SYNC is on, and no volume is mounted at the workspace");
}
