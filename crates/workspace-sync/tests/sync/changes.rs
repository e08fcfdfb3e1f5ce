//! Files that were changed in the old tree after the copy, and in the copy, in one way or another.

use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use crate::fixture::{Running, Site, Worker, wait_for};

fn set_mode(file: &Path, mode: u32) {
    fs::set_permissions(file, Permissions::from_mode(mode)).unwrap();
}

fn mode(file: &Path) -> u32 {
    file.metadata().unwrap().permissions().mode() & 0o7777
}

/// Returns names below `root` that show that both trees were written.
fn kept_beside(root: &Path) -> Vec<String> {
    let found = Command::new("find").arg(root).args(["-name", "*.before-switch"]).output().unwrap();
    String::from_utf8(found.stdout).unwrap().lines().map(str::to_owned).collect()
}

/// An image with files to change.
fn site() -> Site {
    let site = Site::small();
    let image = site.image("micromamba");
    fs::write(image.join("state.json"), "{\n\"a\": 0\n}\n").unwrap();
    fs::write(image.join("state.db"), "0\0\0").unwrap();
    fs::write(image.join("state.db-journal"), "roll back to\0").unwrap();
    fs::write(image.join("tool"), "#!/bin/sh\n").unwrap();
    set_mode(&image.join("tool"), 0o640);
    fs::create_dir(image.join("cache")).unwrap();
    fs::write(image.join("cache/stale"), "x").unwrap();
    site
}

fn change(image: &Path) {
    fs::write(image.join("state.json"), "{\n\"a\": 1\n}\n").unwrap();
    fs::write(image.join("state.db"), "1\0\0").unwrap();
    File::options().write(true).open(image.join("state.db-journal")).unwrap().set_len(0).unwrap();
    set_mode(&image.join("tool"), 0o755);
    fs::remove_file(image.join("cache/stale")).unwrap();
}

#[track_caller]
fn is_changed(copy: &Path) {
    assert_eq!(fs::read_to_string(copy.join("state.json")).unwrap(), "{\n\"a\": 1\n}\n");
    assert_eq!(fs::read(copy.join("state.db")).unwrap(), b"1\0\0");
    assert_eq!(fs::read(copy.join("state.db-journal")).unwrap(), b"", "a journal that is over");
    assert!(!copy.join("cache/stale").exists());
    assert_eq!(kept_beside(copy), [""; 0]);
}

#[test]
fn a_file_that_only_the_old_tree_changed_becomes_what_the_old_one_is() {
    let site = site();
    let image = site.image("micromamba");
    let worker = Worker::at(&image);
    site.sync();
    change(&image);
    drop(worker);
    assert_eq!(site.run(&["follow"]).code, 0);
    is_changed(&site.copy());
    assert_eq!(mode(&site.copy().join("tool")), 0o755);
}

#[test]
fn another_access_list_in_the_copy_is_nobodys_writing() {
    let site = site();
    let image = site.image("micromamba");
    let worker = Worker::at(&image);
    site.sync();
    // As fix-perms does with a fresh copy.
    let list = Command::new("setfacl").args(["-R", "-m", "u:1000:rwX"]).arg(site.copy()).status();
    assert!(list.unwrap().success());
    change(&image);
    drop(worker);
    assert_eq!(site.run(&["follow"]).code, 0);
    is_changed(&site.copy());
    assert_eq!(mode(&site.copy().join("tool")), 0o771, "the list's mask, and now executable");
    assert!(!site.root().join("memory/micromamba.copied").exists(), "forgotten with the old tree");
}

#[test]
fn permissions_that_the_user_set_in_the_copy_stay_whatever_the_old_file_says_later() {
    let site = site();
    let (image, tool) = (site.image("micromamba"), site.copy().join("tool"));
    let worker = Worker::at(&image);
    site.sync();
    set_mode(&tool, 0o600);
    let follower = Running::start(&mut site.command(&["follow"]));
    for text in ["#!/bin/sh\ntrue\n", "#!/bin/bash\n", "#!/bin/bash\ntrue\n"] {
        fs::write(image.join("tool"), text).unwrap();
        wait_for(&tool, text.as_bytes());
    }
    fs::write(image.join("late"), "").unwrap();
    set_mode(&image.join("late"), 0o644);
    wait_for(&site.copy().join("late"), b"");
    set_mode(&image.join("late"), 0o600);
    drop(worker);
    follower.ends_well();
    assert_eq!(mode(&tool), 0o600);
    assert_eq!(mode(&site.copy().join("late")), 0o600, "later changes of the old file are copied");
    assert_eq!(kept_beside(&site.copy()), [""; 0]);
}
