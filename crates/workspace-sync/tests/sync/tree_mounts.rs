//! Mounts in a tree: on the host, they belong to another user.

use std::fs;
use std::path::{Path, PathBuf};

use crate::fixture::{Mount, Site, start};

/// A directory on the same device as the tree, as a volume of the host may be.
fn volume(site: &Site) -> PathBuf {
    let models = site.root().join("models");
    fs::create_dir_all(models.join("deep")).unwrap();
    for file in ["model.bin", "deep/precious"] {
        fs::write(models.join(file), "x").unwrap();
    }
    models
}

/// Everything in a directory, below it too.
fn all_in(directory: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.symlink_metadata().unwrap().is_dir() {
            found.extend(all_in(&path));
        }
        found.push(path);
    }
    found.sort();
    found
}

#[test]
fn a_directory_with_a_mount_in_it_is_neither_copied_nor_emptied() {
    for is_file in [false, true] {
        let mut site = Site::small();
        site.set("OPT_SYNC", "app");
        let app = site.active_link("app");
        fs::create_dir_all(app.join("data")).unwrap();
        for file in ["a", "m", "z"] {
            fs::write(app.join(file), file).unwrap();
        }
        // A directory of a lower layer cannot be renamed: it is emptied.
        fs::create_dir(site.image("app")).unwrap();
        let models = volume(&site);
        let (from, at) = if is_file {
            (models.join("model.bin"), app.join("m"))
        } else {
            (models.clone(), app.join("data"))
        };
        let _mount = Mount::bind(&from, &at);
        let before = (all_in(&app), all_in(&models));
        let next = site.run(&["run", "--dry-run"]);
        assert!(!next.stdout.contains("app: "), "{next:?}");
        let output = site.run(&["run"]);
        let why = format!(
            "app: not on the workspace: {} is a mount; trees that contain mounts are not copied or replaced",
            at.display()
        );
        let there = site.volume().join("app").join(at.strip_prefix(&app).unwrap());
        let hint = format!(
            "hint: start once without this mount, and mount it at {} from then on; or remove app from OPT_SYNC\n",
            there.display()
        );
        assert!(
            output.code == 1 && output.stdout.contains(&why) && output.stderr.contains(&hint),
            "{output:?}"
        );
        assert_eq!((all_in(&app), all_in(&models)), before);
        assert!(!site.volume().join("app.partial").exists(), "nothing is started");
        assert_eq!(site.leads_to(), site.copy(), "the other trees go on");
        let reports = site.run(&["run", "--json"]).stdout;
        assert!(!reports.contains("\"retrying\""), "it lasts: {reports}");
    }
}

#[test]
fn a_linked_tree_with_a_mount_in_it_is_not_switched_not_even_to_a_whole_copy() {
    let mut site = Site::small();
    let place = site.image("micromamba").join("models");
    fs::create_dir(&place).unwrap();
    let models = volume(&site);
    let refused = |site: &Site| {
        let mount = Mount::bind(&models, &place);
        start(site);
        let output = site.run(&["run"]);
        let why = format!("{} is a mount; trees", site.active_link("micromamba/models").display());
        assert!(output.code == 1 && output.stdout.contains(&why), "{output:?}");
        let hint =
            format!("mount it at {} from then on; or start without", site.copy().join("models").display());
        assert!(output.stderr.contains(&hint), "{output:?}");
        assert_eq!(site.leads_to(), site.image("micromamba"));
        assert!(site.status()["problem"].as_str().unwrap().starts_with(&why));
        assert!(site.active_link("micromamba/models/model.bin").exists());
        drop(mount);
    };
    refused(&site);
    assert_eq!(fs::read_dir(site.volume()).unwrap().count(), 0);
    site.sync();
    site.forget();
    fs::remove_file(site.active_link("micromamba")).unwrap();
    std::os::unix::fs::symlink(site.image("micromamba"), site.active_link("micromamba")).unwrap();
    site.set("WORKSPACE_SYNC", "false");
    refused(&site);
}

#[test]
fn a_tree_that_is_a_mount_stays_where_it_is() {
    let site = Site::small();
    let _mount = Mount::bind(&volume(&site), &site.image("micromamba"));
    let output = site.sync();
    let why = format!("{} is a mount point and is not synced\n", site.active_link("micromamba").display());
    assert!(output.stdout.ends_with(&why), "{output:?}");
    assert_eq!(site.leads_to(), site.image("micromamba"));
}

#[test]
fn an_engine_makes_directories_for_a_mount_where_the_copy_is_to_be() {
    let site = Site::small();
    let place = site.copy().join("models");
    fs::create_dir_all(&place).unwrap();
    let _mount = Mount::bind(&volume(&site), &place);
    let output = site.run(&["run"]);
    assert!(output.stdout.contains(&format!("{} is a mount; trees", place.display())), "{output:?}");
    assert!(
        output.stderr.contains("hint: start once without this mount, and mount it again afterwards"),
        "{output:?}"
    );
}

#[test]
fn a_copy_with_a_mount_in_it_is_used_and_not_exchanged() {
    let site = Site::small();
    let (image, copy) = (site.image("micromamba"), site.copy());
    fs::create_dir(image.join("models")).unwrap();
    start(&site);
    site.sync();
    let previous = copy.with_file_name("micromamba-base-image.previous");
    let models = volume(&site);
    let before = all_in(&models);
    let refused = |at: &Path, action: &str| {
        let _mount = Mount::bind(&models, at);
        let output = site.run(&[action, "micromamba"]);
        assert!(
            output.code == 1 && output.stderr.contains(&format!("{} is a mount; ", at.display())),
            "{output:?}"
        );
        assert!(output.stderr.contains("hint: start once without this mount"), "{output:?}");
        assert_eq!(site.sync().stdout, format!("micromamba: {} is in use\n", copy.display()));
    };
    refused(&copy.join("models"), "refresh");
    fs::write(image.join("newer"), "x").unwrap();
    site.forget();
    start(&site);
    assert_eq!(site.run(&["refresh", "micromamba"]).code, 0);
    let whole = all_in(&previous);
    fs::write(image.join("newest"), "x").unwrap();
    site.forget();
    start(&site);
    for (at, action) in [(&copy, "rollback"), (&previous, "rollback"), (&previous, "refresh")] {
        let _mount = Mount::bind(&models, &at.join("models"));
        let output = site.run(&[action, "micromamba"]);
        assert!(output.code == 1 && output.stderr.contains(" is a mount; trees"), "{output:?}");
    }
    assert_eq!(all_in(&previous), whole);
    assert_eq!(all_in(&models), before);
    // The next image is not in the copy yet; what the mount hides is none of that.
    let mount = Mount::bind(&models, &copy.join("models"));
    let output = site.run(&["verify"]);
    assert!(output.stdout.contains("1 are missing, 0 damaged, and 1 were changed"), "{output:?}");
    drop(mount);
    assert_eq!(site.run(&["refresh", "micromamba"]).code, 0);
}

#[test]
fn nothing_is_removed_from_a_mount_because_the_old_tree_lost_it() {
    let site = Site::small();
    let (image, copy) = (site.image("micromamba"), site.copy());
    fs::create_dir(image.join("models")).unwrap();
    fs::write(image.join("models/model.bin"), "x").unwrap();
    start(&site);
    let worker = crate::fixture::Worker::at(&image);
    site.sync();
    // The user filled the volume from the copy, times included.
    let models = site.root().join("models");
    let place = copy.join("models");
    assert!(std::process::Command::new("cp").arg("-a").args([&place, &models]).status().unwrap().success());
    let _mount = Mount::bind(&models, &place);
    fs::remove_file(image.join("models/model.bin")).unwrap();
    fs::write(image.join("late"), "x").unwrap();
    drop(worker);
    assert_eq!(site.run(&["follow"]).code, 0);
    assert!(copy.join("late").exists(), "it was copied");
    assert!(models.join("model.bin").exists());
}
