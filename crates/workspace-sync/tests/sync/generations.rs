//! A newer image over an older volume, and the way back.

use std::fs;
use std::os::unix::fs::symlink;

use crate::site::Site;

/// As a new container made from an image with another tree finds the volume.
fn upgraded(site: &Site) {
    fs::remove_file(site.entrance("micromamba")).unwrap();
    symlink(site.image("micromamba"), site.entrance("micromamba")).unwrap();
    fs::remove_dir_all(site.root().join("memory")).unwrap();
    trees::mutate(&site.image("micromamba"), 11, 20).unwrap();
    fs::write(site.image("micromamba").join("new-in-the-image"), "2").unwrap();
}

#[test]
fn an_older_copy_is_used_and_reported_until_it_is_refreshed_and_can_be_brought_back() {
    let site = Site::small();
    site.sync();
    fs::create_dir(site.copy().join("my-environment")).unwrap();
    fs::write(site.copy().join("my-environment/python"), "mine").unwrap();
    let old = site.root().join("old");
    assert!(
        std::process::Command::new("cp").arg("-a").args([&site.copy(), &old]).status().unwrap().success()
    );
    upgraded(&site);

    let said = site.sync();
    assert!(said.stdout.contains("the image brings another generation"), "{said:?}");
    assert!(said.stderr.contains("hint: workspace-sync refresh micromamba"), "{said:?}");
    assert_eq!(site.leads_to(), site.copy());
    assert_eq!(trees::difference(&old, &site.copy()), [""; 0], "the user's copy is as it was");

    let said = site.run(&["refresh", "micromamba"]);
    assert_eq!(said.code, 0, "{said:?}");
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

    let said = site.run(&["rollback", "micromamba"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(trees::difference(&old, &site.copy()), [""; 0]);
    assert_eq!(fs::read_to_string(previous.join("new-in-the-image")).unwrap(), "2");
    let said = site.run(&["rollback", "micromamba"]);
    assert_eq!(said.code, 0, "a rollback can be rolled back: {said:?}");
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
        let said = site.run(&[action, "micromamba"]);
        assert_eq!(said.code, 1);
        let lock = site.volume().join(".update_lock");
        assert_eq!(
            said.stderr,
            format!(
                "workspace-sync: {0} is there, so that nothing is changed\nhint: remove it to allow updates: rm {0}\n",
                lock.display()
            )
        );
    }
}

#[test]
fn verify_tells_what_was_lost_from_what_was_changed() {
    let site = Site::small();
    site.sync();
    assert_eq!(site.run(&["verify", "--hash"]).code, 0);
    fs::write(site.copy().join("added"), "").unwrap();
    assert_eq!(site.run(&["verify", "--hash"]).code, 0, "what was added is no damage");

    let file = site.copy().join("plain");
    fs::write(site.image("micromamba").join("plain"), "12345").unwrap();
    fs::copy(site.image("micromamba").join("plain"), &file).unwrap();
    let time = fs::metadata(site.image("micromamba").join("plain")).unwrap().modified().unwrap();
    let stamp = || fs::File::options().write(true).open(&file).unwrap().set_modified(time).unwrap();
    fs::write(&file, "12e45").unwrap();
    stamp();
    assert_eq!(site.run(&["verify"]).code, 0, "sizes and times alone do not show it");
    let said = site.run(&["verify", "--hash"]);
    assert_eq!(said.code, 1);
    assert!(said.stdout.contains(" 0 are missing, 1 damaged, and "), "{}", said.stdout);
    assert!(said.stdout.contains("  damaged: \"plain\"\n"), "{}", said.stdout);
    fs::remove_file(&file).unwrap();
    let said = site.run(&["verify", "--json"]);
    let verdict: serde_json::Value = serde_json::from_str(&said.stdout).unwrap();
    assert_eq!((said.code, &verdict["missing"], &verdict["damaged"]), (1, &1.into(), &0.into()));
}
