//! Names, trees and directories that programs of this kind stumble over.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{chown, lchown, symlink};
use std::path::Path;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::fixture::{World, mount, unmount};

#[test]
fn any_byte_that_a_name_may_hold_works() {
    let mut world = World::new("storage_map['a b$(x)']='APP/My \"App\"'\n");
    let names: [&[u8]; 9] = [
        b"with space",
        b"new\nline",
        b"-rf",
        b"$(touch x)`y`",
        b"quo'te\"s",
        b"\xff\xfe",
        b"tab\t ",
        &[b'x'; 255],
        b"*?[a]",
    ];
    world.start();
    fs::create_dir(world.stored("a b$(x)")).unwrap();
    for directory in ["", "\u{1b}[31m dir"] {
        for name in names {
            world.store(Path::new("a b$(x)").join(directory).join(OsStr::from_bytes(name)));
        }
    }
    let app = world.path("app/My \"App\"");
    for directory in ["", "\u{1b}[31m dir"] {
        for name in names {
            let path = Path::new(directory).join(OsStr::from_bytes(name));
            world.until("a link", || {
                fs::read_link(app.join(&path)).is_ok_and(|to| to == world.stored("a b$(x)").join(&path))
            });
        }
    }
    for name in names {
        fs::remove_file(world.stored("a b$(x)").join(OsStr::from_bytes(name))).unwrap();
    }
    world.until("the links to go", || fs::read_dir(&app).unwrap().count() == 1);
}

#[test]
fn links_in_the_storage_are_linked_like_files_and_never_gone_into() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/real");
    fs::create_dir(world.stored("a/dir")).unwrap();
    symlink("loop2", world.stored("a/loop1")).unwrap();
    symlink("loop1", world.stored("a/loop2")).unwrap();
    symlink(".", world.stored("a/self")).unwrap();
    symlink("..", world.stored("a/dir/up")).unwrap();
    symlink("/etc", world.stored("a/etc")).unwrap();
    symlink("nowhere", world.stored("a/dangling")).unwrap();
    assert_eq!(world.run(&["once"]).out, "linked 4, removed 0\n");
    let links = ["dir/", "dir/up -> a/dir/up", "etc -> a/etc", "real -> a/real", "self -> a/self"];
    assert_eq!(world.links(), links);
}

#[test]
fn the_storage_may_be_a_link_itself() {
    let mut world = World::new("storage_map[a]=APP\n");
    fs::remove_dir(world.stored("")).unwrap();
    fs::create_dir(world.path("volume")).unwrap();
    symlink(world.path("volume"), world.path("workspace/storage")).unwrap();
    world.start();
    world.store("a/x");
    world.until_links(&["x -> a/x"]);
    fs::create_dir_all(world.path("other/a")).unwrap();
    fs::write(world.path("other/a/y"), "").unwrap();
    symlink(world.path("other"), world.path("workspace/new")).unwrap();
    fs::rename(world.path("workspace/new"), world.path("workspace/storage")).unwrap();
    world.until("links into the other volume", || {
        world.path("app/y").exists() && !world.path("app/x").exists()
    });
    fs::write(world.path("other/a/z"), "").unwrap();
    world.until("a link to a new file", || world.path("app/z").exists());
}

#[test]
fn a_target_that_cannot_be_used_harms_no_other() {
    let world = World::new(
        "storage_map[a]='APP/file\nAPP/ro\nAPP/loop\nTOP/workspace/storage/in\nTOP/workspace\nAPP/ok'\n",
    );
    world.store("a/x");
    world.store("storage/y");
    fs::write(world.path("app/file"), "").unwrap();
    symlink("loop", world.path("app/loop")).unwrap();
    let read_only = world.path("app/ro");
    fs::create_dir(&read_only).unwrap();
    mount(&["-t", "tmpfs", "-o", "ro", "none"], &read_only);
    let answer = world.run(&["once"]);
    unmount(&read_only);
    assert_eq!(answer.code, Some(1));
    assert_eq!(answer.out, "linked 2, removed 0\n");
    let complaints: Vec<_> = answer.error.lines().collect();
    assert_eq!(
        complaints,
        [
            "storage-monitor: warning: \"TOP/app/file\": Not a directory (os error 20)",
            "storage-monitor: warning: \"TOP/app/ro\": \"x\": Read-only file system (os error 30)",
        ]
    );
    assert_eq!(fs::read_link(world.path("app/ok/x")).unwrap(), world.stored("a/x"));
    assert_eq!(fs::read_link(world.path("workspace/x")).unwrap(), world.stored("a/x"));
    assert!(!world.stored("in").exists());
}

#[test]
fn nothing_is_linked_into_the_storage_through_a_directory_above_it() {
    let world = World::new("storage_map[a]=TOP/workspace\n");
    // Would be mirrored as $WORKSPACE/storage, which is the storage itself.
    world.store("a/storage/x");
    let answer = world.run(&["once"]);
    let error = "storage-monitor: warning: \"TOP/workspace/storage\": it is the storage itself\n";
    assert_eq!((answer.code, answer.error.as_str()), (Some(1), error));
    assert!(world.stored("x").symlink_metadata().is_err());
}

#[test]
fn a_directory_of_an_application_that_became_a_link_is_not_followed() {
    let world = World::new("storage_map[a]=APP\n");
    world.store("a/sub/x");
    world.run(&["once"]);
    fs::remove_dir_all(world.path("app/sub")).unwrap();
    fs::create_dir(world.path("victim")).unwrap();
    symlink(world.stored("a/sub/x"), world.path("victim/x")).unwrap();
    symlink(world.path("victim"), world.path("app/sub")).unwrap();
    fs::remove_dir_all(world.stored("a/sub")).unwrap();
    world.store("a/sub/y");
    world.run(&["once"]);
    let inside: Vec<_> =
        fs::read_dir(world.path("victim")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert_eq!(inside, ["x"], "nothing is made or removed behind the link");
}

#[test]
fn a_users_link_leads_root_nowhere_where_the_user_may_not_write() {
    let world = World::new("storage_map[a]='APP/evil\nAPP/good'\n");
    world.store("a/x");
    let user = Some(1_234);
    for (link, directory, owner) in [("evil", "roots", None), ("good", "users", user)] {
        fs::create_dir(world.path(directory)).unwrap();
        chown(world.path(directory), owner, None).unwrap();
        symlink(world.path(directory), world.path("app").join(link)).unwrap();
        lchown(world.path("app").join(link), user, None).unwrap();
    }
    assert_eq!(world.run(&["once"]).out, "linked 1, removed 0\n");
    assert_eq!((world.links_in("roots"), world.links_in("users")), (vec![], vec!["x -> a/x".to_owned()]));
    let why = world.run(&["explain", world.stored("a/x").to_str().unwrap()]).out;
    let refused = "not linked: \"TOP/app/evil\" is not ready: \
        refusing to follow the symbolic link \"TOP/app/evil\": its owner does not own the target\n";
    assert_eq!(why, format!("linked: \"TOP/users/x\"\n{refused}"));
}

#[test]
fn a_target_on_another_file_system_works() {
    let other = tempfile::tempdir_in("/dev/shm").unwrap();
    let world = World::new(&format!("storage_map[a]='{}'\n", other.path().display()));
    world.store("a/x");
    world.run(&["once"]);
    assert_eq!(fs::read_link(other.path().join("x")).unwrap(), world.stored("a/x"));
}

#[test]
fn a_directory_with_ten_thousand_files_is_moved_in() {
    let mut world = World::new("storage_map[a]=APP\n");
    fs::create_dir(world.stored("a")).unwrap();
    let outside = world.path("workspace/outside");
    fs::create_dir(&outside).unwrap();
    for number in 0..10_000 {
        fs::write(outside.join(number.to_string()), "").unwrap();
    }
    world.start();
    fs::rename(&outside, world.stored("a/in")).unwrap();
    world.until("all", || fs::read_dir(world.path("app/in")).is_ok_and(|all| all.count() == 10_000));
    fs::rename(world.stored("a/in"), world.stored("a/.away")).unwrap();
    world.until_links(&[]);
}

#[test]
fn a_storm_of_renames_ends_in_the_links_of_a_fresh_look() {
    let mut world = World::new("storage_map[a]=APP\nstorage_map[a/d1]=APP/first\n");
    for directory in 0..4 {
        for file in 0..10 {
            world.store(format!("a/d{directory}/{file}"));
        }
    }
    world.start();
    let path = |name: &str| world.stored("a").join(name);
    for round in 0..2_000_usize {
        let (one, other) = (round % 4, (round / 3) % 4);
        if one != other {
            fs::rename(path(&format!("d{one}")), path("swap")).unwrap();
            fs::rename(path(&format!("d{other}")), path(&format!("d{one}"))).unwrap();
            fs::rename(path("swap"), path(&format!("d{other}"))).unwrap();
        }
        let (from, to) = (path(&format!("d{one}/{}", round % 10)), path(&format!("d{other}/n{}", round % 7)));
        let _ = fs::rename(from, to);
    }
    world.until("the links of a fresh look", || world.links() == world.fresh());
    // What still comes into directories that were moved about.
    for directory in 0..4 {
        world.store(format!("a/d{directory}/after"));
    }
    world.until("the links of a fresh look", || world.links() == world.fresh());
    assert!(world.path("app/d3/after").is_symlink());
}

#[test]
fn more_changes_than_the_kernel_keeps_are_all_found() {
    let mut world = World::new("storage_map[a]=APP\n");
    world.store("a/before");
    world.start();
    world.until_links(&["before -> a/before"]);
    let signal = |signal| kill(Pid::from_raw(world.process().try_into().unwrap()), signal).unwrap();
    let queue: usize =
        fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap().trim().parse().unwrap();
    signal(Signal::SIGSTOP);
    // Each rename is two events.
    let names = [world.stored("a/one"), world.stored("a/other")];
    fs::write(&names[0], "").unwrap();
    for round in 0..=queue / 2 {
        fs::rename(&names[round % 2], &names[(round + 1) % 2]).unwrap();
    }
    fs::remove_file(world.stored("a/before")).unwrap();
    world.store("a/late/x");
    world.store("a/y");
    signal(Signal::SIGCONT);
    let last = if (queue / 2).is_multiple_of(2) { "other" } else { "one" };
    world.until_links(&["late/", "late/x -> a/late/x", &format!("{last} -> a/{last}"), "y -> a/y"]);
}

#[test]
fn a_link_under_a_temporary_name_stays_while_a_monitor_may_need_it() {
    let world = World::new("storage_map[a]='APP\nAPP/other'\n");
    world.store("a/x");
    world.run(&["once"]);
    let ours = format!(".storage-monitor.{}.0", kit::start_id::id());
    let another = ".storage-monitor.another.0";
    symlink(world.stored("b/x"), world.path("app").join(&ours)).unwrap();
    symlink(world.stored("b/x"), world.path("app/other").join(another)).unwrap();
    symlink("/elsewhere", world.path("app/other").join(&ours)).unwrap();
    let links = world.links();
    assert_eq!(links.len(), 6);
    // Nor is it taken for a name that is free.
    world.store("a/y");
    fs::remove_file(world.stored("a/x")).unwrap();
    for task in ["plan", "once"] {
        assert_eq!(world.run(&[task]).code, Some(0));
        let expected = links.iter().map(|link| match task {
            "once" => link.replace("x -> a/x", "y -> a/y"),
            _ => link.clone(),
        });
        assert_eq!(world.links(), expected.collect::<Vec<_>>(), "{task}");
    }
}

#[test]
fn a_directory_is_followed_also_when_a_key_below_it_has_gone() {
    let mut world = World::new("storage_map[a]=APP\nstorage_map[a/b]=APP\n");
    world.store("a/x");
    world.start();
    world.until_links(&["x -> a/x"]);
    world.map("storage_map[a]='APP\nAPP/two'\n");
    world.until_links(&["two/", "two/x -> a/x", "x -> a/x"]);
    world.store("a/y");
    world.until_links(&["two/", "two/x -> a/x", "two/y -> a/y", "x -> a/x", "y -> a/y"]);
}
