//! A volume that users and other containers write as well.

use std::fs;
use std::os::unix::fs::{PermissionsExt, chown, lchown, symlink};
use std::process::Command;

use faultfs::FaultFs;
use nix::sys::signal::Signal;

use crate::fixture::{World, mount, unmount};

#[test]
fn a_users_link_in_the_storages_place_leads_root_nowhere_where_the_user_may_not_write() {
    let world = World::new("storage_map[a]=APP\n");
    fs::write(world.path("image/evil"), "").unwrap();
    fs::remove_dir(world.stored("")).unwrap();
    let (user, link) = (Some(1_234), world.path("workspace/storage"));
    chown(world.path("workspace"), user, None).unwrap();
    let entries = |directory: &str| fs::read_dir(world.path(directory)).unwrap().count();
    for (directory, owner) in [("roots", None), ("users", user)] {
        fs::create_dir_all(world.path(directory).join("a")).unwrap();
        fs::write(world.path(directory).join("a/x"), "").unwrap();
        chown(world.path(directory), owner, None).unwrap();
        symlink(world.path(directory), &link).unwrap();
        lchown(&link, user, None).unwrap();
        let answer = world.run(&["once"]);
        if owner == user {
            assert_eq!((answer.code, answer.out.as_str()), (Some(0), "linked 2, removed 0\n"));
            assert_eq!(entries(directory), 3, "a, the file of the image, and the ledger");
            assert_eq!(fs::read_link(world.path("app/x")).unwrap(), world.stored("a/x"));
        } else {
            let expected = "storage-monitor: warning: cannot read the storage: refusing to follow the symbolic link \
                \"TOP/workspace/storage\": its owner does not own the target\n";
            assert_eq!((answer.code, answer.error.as_str()), (Some(1), expected));
            assert_eq!((entries(directory), entries("app")), (1, 0));
        }
        fs::remove_file(&link).unwrap();
    }
}

#[test]
fn links_stay_while_the_storage_is_missing_or_another_empty_one() {
    let world = World::new("storage_map[a]=APP\n");
    fs::write(world.path("image/shipped"), "").unwrap();
    mount(&["-t", "tmpfs", "tmpfs"], &world.stored(""));
    world.store("a/x");
    world.store("a/y");
    assert_eq!(world.run(&["once"]).code, Some(0));
    let both = ["x -> a/x", "y -> a/y"];
    assert_eq!(world.links(), both);
    // The volume is gone, and its empty mount point remains.
    unmount(&world.stored(""));
    let answer = world.run(&["once"]);
    let expected = "is missing its files, keeping the links: it is a different directory than before and contains no files\n";
    assert_eq!((world.links(), answer.code), (both.map(str::to_owned).to_vec(), Some(1)));
    assert!(answer.error.ends_with(expected), "{}", answer.error);
    fs::rename(world.stored(""), world.path("workspace/away")).unwrap();
    let answer = world.run(&["once"]);
    assert_eq!((world.links(), answer.code), (both.map(str::to_owned).to_vec(), Some(1)));
    assert!(
        answer.error.ends_with("is missing its files, keeping the links: it is missing\n"),
        "{}",
        answer.error
    );
    // Another volume that has files is believed, and so is a user who removes the last one.
    fs::create_dir(world.stored("")).unwrap();
    world.store("a/x");
    assert_eq!((world.run(&["once"]).code, world.links()), (Some(0), vec!["x -> a/x".to_owned()]));
    fs::remove_dir_all(world.stored("a")).unwrap();
    assert_eq!((world.run(&["once"]).code, world.links()), (Some(0), Vec::new()));
}

#[test]
fn the_ledger_on_the_volume_is_that_of_the_storage_in_which_it_lies() {
    let mut world = World::new("");
    fs::write(world.path("image/x"), "").unwrap();
    fs::remove_dir(world.stored("")).unwrap();
    for volume in ["one", "two"] {
        fs::create_dir(world.path(volume)).unwrap();
        let _ = fs::remove_file(world.path("workspace/storage"));
        symlink(world.path(volume), world.path("workspace/storage")).unwrap();
        if volume == "one" {
            world.start();
        }
        assert_eq!(world.run(&["once"]).code, Some(0));
        assert!(world.path(volume).join(".storage-monitor-image").is_file());
    }
    let shipped = ["one", "two"].map(|volume| world.path(volume).join("x").is_symlink());
    assert_eq!(shipped, [true, true], "what is in another storage is the business of whoever uses that");
}

#[test]
fn what_a_user_puts_in_the_ledgers_place_on_the_volume_stops_nothing_and_is_reported() {
    let world = World::new("storage_map[a]=APP\n");
    fs::create_dir(world.path("image/a")).unwrap();
    fs::write(world.path("image/a/x"), "").unwrap();
    let ledger = world.stored(".storage-monitor-image");
    assert!(Command::new("mkfifo").arg(&ledger).status().unwrap().success());
    let mut command = Command::new("timeout");
    command.args(["20", crate::fixture::PROGRAM]);
    world.prepare(&mut command, &["once"], "");
    let answer = world.answer(command.output().unwrap());
    let expected = "storage-monitor: warning: TOP/workspace/storage/.storage-monitor-image is not a file; \
        renamed it to TOP/workspace/storage/.storage-monitor-image.aside and started a new one\n";
    assert_eq!(
        (answer.code, answer.out.as_str(), answer.error.as_str()),
        (Some(0), "linked 2, removed 0\n", expected)
    );
    assert_eq!(world.links(), ["x -> a/x"]);
    assert!(fs::metadata(ledger).unwrap().is_file());
}

#[test]
fn what_a_user_writes_into_the_ledger_on_the_volume_is_believed_about_the_storage_alone() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/x");
    let (storage, image) =
        (world.stored("").display().to_string(), world.path("image").display().to_string());
    symlink(world.path("image/y"), world.path("workspace/y")).unwrap();
    let forged = format!("+\0{storage}../y\0{image}\0+\0{}\0", "x".repeat(1 << 20));
    fs::write(world.stored(".storage-monitor-image"), forged).unwrap();
    let answer = world.run(&["once"]);
    assert_eq!((answer.code, answer.error.as_str()), (Some(0), ""));
    assert!(world.path("workspace/y").is_symlink());
}

#[test]
fn two_monitors_work_in_one_directory_of_an_application() {
    for slug in ["image", "image-2"] {
        let mut world = World::new("storage_map[a]=APP\nstorage_map[b]=APP\n");
        fs::create_dir(world.path("image-2")).unwrap();
        fs::create_dir(world.path("etc-2")).unwrap();
        fs::copy(world.path("etc/mappings.sh"), world.path("etc-2/mappings.sh")).unwrap();
        for number in 0..50 {
            world.store(format!("b/{number}"));
        }
        world.start();
        let mut other = world.command_of(&["run"], "-2");
        let log = fs::File::create(world.path("log-2")).unwrap();
        let mut other = other.env("IMAGE_SLUG", slug).stderr(log).spawn().unwrap();
        // Links are replaced by those of the longer way round, and removed, by both at once.
        for _ in 0..10 {
            for number in 0..50 {
                world.store(format!("a/{number}"));
            }
            for number in 0..50 {
                fs::remove_file(world.stored(format!("a/{number}"))).unwrap();
            }
        }
        for number in 0..25 {
            fs::remove_file(world.stored(format!("b/{number}"))).unwrap();
        }
        let mut expected: Vec<_> = (25..50).map(|number| format!("{number} -> b/{number}")).collect();
        expected.sort();
        let done = || world.links() == expected;
        let waited = kit::wait::until(std::time::Duration::from_mins(1), "both", || done().then_some(()));
        let asked = [
            world.run(&["once"]).code,
            world.command_of(&["once"], "-2").env("IMAGE_SLUG", slug).status().unwrap().code(),
        ];
        let links = world.links();
        other.kill().unwrap();
        other.wait().unwrap();
        waited.unwrap();
        assert_eq!((asked, links), ([Some(0), Some(0)], expected), "{slug}");
        for log in ["log", "log-2"] {
            let expected = fs::read_to_string(world.path(log)).unwrap();
            assert!(!expected.contains("os error") && !expected.contains(".storage-monitor."), "{expected}");
        }
    }
}

#[test]
fn two_containers_with_different_images_share_a_volume() {
    let mut world = World::new("storage_map[a]=APP\n");
    // The other one ships a file that the first does not have, and its application is elsewhere.
    for directory in ["image-2/a", "app-2", "etc-2", "image/a"] {
        fs::create_dir_all(world.path(directory)).unwrap();
    }
    fs::write(world.path("image-2/a/two"), "").unwrap();
    fs::write(world.path("image/a/one"), "").unwrap();
    let mapping = format!("storage_map[a]={}\n", world.path("app-2").display());
    fs::write(world.path("etc-2/mappings.sh"), mapping).unwrap();
    fs::set_permissions(world.path("etc-2/mappings.sh"), fs::Permissions::from_mode(0o644)).unwrap();
    world.start();
    let mut other = world.command_of(&["run"], "-2").spawn().unwrap();
    world.store("a/both");
    let both = ["both -> a/both", "one -> a/one", "two -> a/two"];
    let done = || world.links() == both && world.links_in("app-2") == both;
    let waited = kit::wait::until(std::time::Duration::from_secs(30), "both", || done().then_some(()));
    // Neither treats the other's links as stale.
    let asked = [world.run(&["once"]).code, world.command_of(&["once"], "-2").status().unwrap().code()];
    let links = (world.links(), world.links_in("app-2"), fs::read_link(world.stored("a/two")).ok());
    other.kill().unwrap();
    other.wait().unwrap();
    waited.unwrap();
    assert_eq!(asked, [Some(0), Some(0)]);
    let both = both.map(str::to_owned).to_vec();
    assert_eq!(links, (both.clone(), both, Some(world.path("image-2/a/two"))));
}

#[test]
fn what_others_do_to_a_volume_is_found_by_looking() {
    let mut world = World::new("storage_map[a]=APP\n");
    let volume = world.path("volume");
    fs::create_dir_all(volume.join("a")).unwrap();
    let disk = FaultFs::mount(&volume, &world.stored("")).unwrap();
    world.start();
    let state = world.state();
    assert_eq!((&state["events"], &state["problems"]), (&"partial".into(), &serde_json::json!([])));
    // Past the mounted file system, as from another machine: no event reports it.
    world.until_a_scan_is_due_soon();
    fs::write(volume.join("a/x"), "").unwrap();
    world.until_links(&["x -> a/x"]);
    world.until_a_scan_is_due_soon();
    fs::remove_file(volume.join("a/x")).unwrap();
    world.until_links(&[]);
    world.stop(Signal::SIGTERM);
    drop(disk);
}
