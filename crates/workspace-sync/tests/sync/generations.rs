//! A newer image over an older volume, and the way back.

use std::fs;
use std::os::unix::fs::symlink;

use crate::fixture::{Site, claim_of};

/// As a new container finds the volume.
fn in_a_new_container(site: &Site) {
    fs::remove_file(site.active_link("micromamba")).unwrap();
    symlink(site.image("micromamba"), site.active_link("micromamba")).unwrap();
    site.forget();
}

/// The same, made from an image with another tree.
fn upgraded(site: &Site) {
    in_a_new_container(site);
    trees::mutate(&site.image("micromamba"), 11, 20).unwrap();
    fs::write(site.image("micromamba").join("new-in-the-image"), "2").unwrap();
}

#[test]
fn an_older_copy_is_used_and_reported_until_it_is_refreshed_and_can_be_brought_back() {
    let site = Site::small();
    site.sync();
    fs::create_dir(site.copy().join("my-environment")).unwrap();
    fs::write(site.copy().join("my-environment/python"), "mine").unwrap();
    // Left half made by a killed process.
    fs::write(site.copy().join(".tree-copy.1-0.tmp"), "").unwrap();
    let old = site.root().join("old");
    assert!(
        std::process::Command::new("cp").arg("-a").args([&site.copy(), &old]).status().unwrap().success()
    );
    upgraded(&site);

    let output = site.sync();
    assert!(output.stdout.contains("the image has generation"), "{output:?}");
    assert!(output.stderr.contains("hint: workspace-sync refresh micromamba"), "{output:?}");
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(trees::difference(&old, &site.copy()), [""; 0], "the user's copy is as it was");

    let output = site.run(&["refresh", "micromamba"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(fs::read_to_string(site.copy().join("my-environment/python")).unwrap(), "mine");
    let differences = site.copy_differs_from(&site.image("micromamba"));
    assert!(
        differences.iter().all(|line| line.starts_with("my-environment")),
        "the rest is the image's: {differences:?}"
    );
    let previous = site.volume().join("environments/micromamba-base-image.previous");
    assert_eq!(trees::difference(&old, &previous), [""; 0]);
    assert!(!site.partial().exists());

    let output = site.run(&["rollback", "micromamba"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(trees::difference(&old, &site.copy()), [""; 0]);
    assert_eq!(fs::read_to_string(previous.join("new-in-the-image")).unwrap(), "2");
    let output = site.run(&["rollback", "micromamba"]);
    assert_eq!(output.code, 0, "a rollback can be rolled back: {output:?}");
    assert!(site.copy().join("new-in-the-image").exists());
}

#[test]
fn an_update_lock_stops_a_refresh() {
    let site = Site::small();
    site.sync();
    upgraded(&site);
    site.sync();
    fs::write(site.volume().join(".update_lock"), "").unwrap();
    for action in ["refresh", "rollback"] {
        let output = site.run(&[action, "micromamba"]);
        assert_eq!(output.code, 1);
        let lock = site.volume().join(".update_lock");
        assert_eq!(
            output.stderr,
            format!(
                "workspace-sync: {0} exists; nothing was changed\nhint: remove it to allow updates: rm {0}\n",
                lock.display()
            )
        );
    }
}

fn previous(site: &Site) -> std::path::PathBuf {
    site.volume().join("environments/micromamba-base-image.previous")
}

/// A site whose copy was refreshed once, with something of the user's in the copy that was replaced.
fn refreshed() -> Site {
    let site = Site::small();
    site.sync();
    fs::write(site.copy().join("mine"), "1").unwrap();
    upgraded(&site);
    assert_eq!(site.run(&["refresh", "micromamba"]).code, 0);
    site
}

/// The partial copy of a refresh that was killed before the exchange: complete, and claimed.
fn prepared(site: &Site, container: &str) {
    let status = std::process::Command::new("cp").arg("-a").args([site.copy(), site.partial()]).status();
    assert!(status.unwrap().success());
    fs::write(site.partial().join(".sync_partial"), claim_of(container)).unwrap();
}

fn next_image(site: &Site, name: &str) {
    in_a_new_container(site);
    fs::write(site.image("micromamba").join(name), "3").unwrap();
}

#[test]
fn a_prepared_generation_that_was_never_in_use_does_not_drive_out_the_previous_one() {
    let site = refreshed();
    let own = fs::read_to_string(site.root().join("memory/container")).unwrap();
    prepared(&site, &own);
    let marker = site.partial().join(".move_complete");
    let mut told: serde_json::Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
    told["generation"] = "0123456789abcdef".into();
    fs::write(&marker, told.to_string()).unwrap();
    let output = site.run(&["refresh", "micromamba"]);
    assert!(output.code == 0 && output.stdout.contains(" already"), "{output:?}");
    assert!(!previous(&site).join("new-in-the-image").exists(), "the older one is still there");

    fs::write(site.copy().join("later"), "mine").unwrap();
    fs::write(site.image("micromamba").join("third"), "3").unwrap();
    fs::remove_file(site.root().join("memory/micromamba.listing")).unwrap();
    let _ = fs::remove_file(site.root().join("boot.jsonl"));
    let output = site.run(&["refresh", "micromamba"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_to_string(site.copy().join("third")).unwrap(), "3");
    assert_eq!(fs::read_to_string(site.copy().join("later")).unwrap(), "mine");
    assert!(previous(&site).join("new-in-the-image").exists(), "the one that was in use");
    assert!(!previous(&site).join(".sync_partial").exists() && !site.copy().join(".sync_partial").exists());
    assert!(!site.partial().exists());
}

#[test]
fn the_generation_that_another_container_prepares_is_left_to_it() {
    let site = refreshed();
    next_image(&site, "third");
    prepared(&site, "other");
    let output = site.run(&["refresh", "micromamba"]);
    assert_eq!(output.code, 1, "{output:?}");
    assert!(output.stderr.contains("container \"pod-b\" is currently creating "), "{output:?}");
    assert!(site.partial().join(".move_complete").exists());
    assert_eq!(fs::read_to_string(previous(&site).join("mine")).unwrap(), "1");
}

#[test]
fn a_copy_that_was_replaced_by_a_killed_refresh_becomes_the_previous_one() {
    let site = refreshed();
    fs::rename(previous(&site), site.partial()).unwrap();
    let output = site.run(&["refresh", "micromamba"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_to_string(previous(&site).join("mine")).unwrap(), "1");
    assert!(!site.partial().exists());
}

#[test]
fn what_a_kill_left_of_a_previous_copy_is_not_brought_back_and_not_in_the_way() {
    let site = refreshed();
    // As a kill leaves it while the older one is removed.
    fs::rename(previous(&site).join(".move_complete"), previous(&site).join(".sync_partial")).unwrap();
    fs::remove_file(previous(&site).join("mine")).unwrap();
    assert_eq!(site.run(&["rollback", "micromamba"]).code, 1);
    next_image(&site, "third");
    let output = site.run(&["refresh", "micromamba"]);
    assert_eq!(output.code, 0, "{output:?}");
    assert_eq!(fs::read_to_string(previous(&site).join("mine")).unwrap(), "1");
    assert!(previous(&site).join(".move_complete").exists());
}

#[test]
fn a_directory_of_the_users_in_the_place_of_the_previous_copy_stays() {
    let site = Site::small();
    site.sync();
    upgraded(&site);
    fs::create_dir(previous(&site)).unwrap();
    fs::write(previous(&site).join("thesis.tex"), "").unwrap();
    let output = site.run(&["refresh", "micromamba"]);
    assert!(output.code == 1 && output.stderr.contains("is taken"), "{output:?}");
    assert!(previous(&site).join("thesis.tex").exists());
}

#[test]
fn an_exchange_in_steps_that_was_killed_is_undone_or_finished() {
    let site = refreshed();
    let aside = site.volume().join("environments/micromamba-base-image.exchange");
    // After the first step.
    fs::rename(site.copy(), &aside).unwrap();
    let output = site.sync();
    assert_eq!(output.stdout, format!("micromamba: {} is in use\n", site.copy().display()));
    assert!(!aside.exists());
    assert!(site.copy().join("new-in-the-image").exists());
    // After the second.
    fs::rename(previous(&site), &aside).unwrap();
    site.sync();
    assert!(!aside.exists());
    assert_eq!(fs::read_to_string(previous(&site).join("mine")).unwrap(), "1");
}

#[test]
fn what_is_remembered_about_one_copy_is_not_done_to_another() {
    let site = Site::small();
    let image = site.image("micromamba");
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", "read line"]).current_dir(&image).stdin(std::process::Stdio::piped());
    let mut worker = shell.spawn().unwrap();
    site.sync();
    drop(worker.stdin.take());
    worker.wait().unwrap();
    // Another volume, with a copy that its user has worked in long ago.
    let marker = site.copy().join(".move_complete");
    let mut told: serde_json::Value = serde_json::from_slice(&fs::read(&marker).unwrap()).unwrap();
    told["completed_at"] = 1.into();
    fs::write(&marker, told.to_string()).unwrap();
    fs::write(site.copy().join("mine"), "1").unwrap();
    let memory = site.root().join("memory/micromamba.json");
    let mut remembered: serde_json::Value = serde_json::from_slice(&fs::read(&memory).unwrap()).unwrap();
    remembered["leftover"]["copy_since"] = serde_json::json!([9_999_999_999_u64, 0]);
    fs::write(&memory, remembered.to_string()).unwrap();
    fs::write(image.join("late"), "").unwrap();
    site.sync();
    assert_eq!(fs::read_to_string(site.copy().join("mine")).unwrap(), "1");
}

#[test]
fn a_directory_of_a_lower_layer_says_what_renews_its_copy_and_what_cannot_be_done() {
    let mut site = Site::small();
    site.set("OPT_SYNC", "app");
    let app = site.active_link("app");
    fs::create_dir(&app).unwrap();
    fs::write(app.join("server"), "1").unwrap();
    let layers = site.layered();
    site.sync();
    assert_eq!(fs::read_link(&app).unwrap(), site.volume().join("app"));
    let output = site.run(&["verify", "app"]);
    assert!(output.code == 1 && output.stderr.contains("nothing to compare with"), "{output:?}");

    // A newer image.
    fs::write(site.root().join("layers/lower/app/server"), "number two").unwrap();
    let layers = site.layered_anew(layers);
    assert_eq!(
        site.run(&["verify", "app"]).code,
        0,
        "the directory is still there, and the copy was changed"
    );
    let output = site.sync();
    let hint = format!("hint: rename {} and start a new container", site.volume().join("app").display());
    assert!(output.stderr.contains(&hint), "{output:?}");
    let output = site.run(&["refresh", "app"]);
    assert!(output.code == 1 && output.stderr.contains(&hint), "{output:?}");

    // The hint's command works.
    fs::rename(site.volume().join("app"), site.volume().join("old-app")).unwrap();
    let _layers = site.layered_anew(layers);
    site.sync();
    assert_eq!(fs::read_to_string(app.join("server")).unwrap(), "number two");
}
