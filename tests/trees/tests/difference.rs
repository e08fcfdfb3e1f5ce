//! The judge sees what it must see, and the trees have what they promise.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used)]

use std::fs::{self, Permissions};
use std::os::unix::fs::{FileExt, MetadataExt, PermissionsExt, chown, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tempfile::TempDir;
use trees::{Aspect, Shape, build, difference, difference_except, edge_cases, mutate};

const SMALL: Shape = Shape { files: 60, hard_linked: 9, links: 12, directories: 10, bytes: 300_000 };

/// Two equal trees.
fn pair() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    build(&dir.path().join("one"), &SMALL, 1).unwrap();
    build(&dir.path().join("other"), &SMALL, 1).unwrap();
    dir
}

fn compare(dir: &TempDir) -> Vec<String> {
    difference(&dir.path().join("one"), &dir.path().join("other"))
}

#[test]
fn the_same_seed_builds_the_same_tree_and_another_seed_another() {
    let dir = pair();
    assert_eq!(compare(&dir), Vec::<String>::new());
    build(&dir.path().join("third"), &SMALL, 2).unwrap();
    assert_ne!(difference(&dir.path().join("one"), &dir.path().join("third")), Vec::<String>::new());
}

#[test]
fn a_tree_has_exactly_its_shape() {
    let dir = tempfile::tempdir().unwrap();
    let root = dir.path().join("root");
    build(&root, &Shape::environment().scaled(1, 500), 3).unwrap();
    let found = counted(&root);
    let mut inodes: Vec<_> = found.iter().filter(|(_, kind)| kind.is_file()).map(|(path, _)| path).collect();
    inodes.sort_by_key(|path| path.metadata().unwrap().ino());
    inodes.dedup_by_key(|path| path.metadata().unwrap().ino());
    let files = found.iter().filter(|(_, kind)| kind.is_file()).count();
    let shape = Shape {
        files,
        hard_linked: files - inodes.len(),
        links: found.iter().filter(|(_, kind)| kind.is_symlink()).count(),
        directories: found.iter().filter(|(_, kind)| kind.is_dir()).count(),
        bytes: inodes.iter().map(|path| path.metadata().unwrap().len()).sum(),
    };
    assert_eq!(shape, Shape::environment().scaled(1, 500));
}

fn counted(below: &Path) -> Vec<(PathBuf, fs::FileType)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(below).unwrap().map(Result::unwrap) {
        let kind = entry.file_type().unwrap();
        found.push((entry.path(), kind));
        if kind.is_dir() {
            found.extend(counted(&entry.path()));
        }
    }
    found
}

#[test]
fn cp_keeps_everything_of_an_environment_and_the_judge_agrees() {
    let dir = pair();
    let (one, copy) = (dir.path().join("one"), dir.path().join("copy"));
    assert!(Command::new("cp").arg("-a").args([&one, &copy]).status().unwrap().success());
    assert_eq!(difference(&one, &copy), Vec::<String>::new());
}

#[test]
fn the_strange_tree_is_made_twice_alike_and_is_all_there() {
    let dir = tempfile::tempdir().unwrap();
    let (one, other) = (dir.path().join("one"), dir.path().join("other"));
    edge_cases(&one, 7).unwrap();
    edge_cases(&other, 7).unwrap();
    assert_eq!(difference(&one, &other), Vec::<String>::new());
    let kept = fs::symlink_metadata(one.join("owners/set-uid")).unwrap();
    assert_eq!((kept.mode() & 0o7777, kept.uid()), (0o4755, 1_000));
    let hole = fs::metadata(one.join("sparse/nothing but a hole")).unwrap();
    assert_eq!((hole.len(), hole.blocks()), (48 << 20, 0));
    let lists = Command::new("getfacl").arg("-cp").arg(one.join("attributes/access list")).output().unwrap();
    let lists = String::from_utf8(lists.stdout).unwrap();
    assert!(lists.contains("user:nobody:rw-"), "{lists}");
    // A tree that is equal in every way but one attribute is not equal.
    let path = one.join("attributes/directory with lists");
    let changed = ["-n", "user.of-a-directory", "-v", "2"];
    assert!(Command::new("setfattr").args(changed).arg(path).status().unwrap().success());
    let found = difference(&one, &other);
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("attributes/directory with lists: attributes [ "), "{found:?}");
}

#[test]
fn every_aspect_that_differs_is_one_line() {
    let root = tempfile::tempdir().unwrap();
    for side in ["one", "other"] {
        let side = root.path().join(side);
        fs::create_dir_all(side.join("d\n")).unwrap();
        for name in ["same", "size", "content", "mode", "owner", "time", "kind", "here", "twin"] {
            fs::write(side.join(name), "0123456789").unwrap();
        }
        symlink("to", side.join("target")).unwrap();
        fs::hard_link(side.join("twin"), side.join("d\n/twin")).unwrap();
    }
    let (one, other) = (root.path().join("one"), root.path().join("other"));
    fs::remove_file(other.join("here")).unwrap();
    fs::remove_file(other.join("kind")).unwrap();
    fs::create_dir(other.join("kind")).unwrap();
    fs::write(other.join("size"), "0123").unwrap();
    fs::File::options().write(true).open(other.join("content")).unwrap().write_all_at(b"x", 6).unwrap();
    fs::remove_file(other.join("target")).unwrap();
    symlink("from", other.join("target")).unwrap();
    fs::set_permissions(other.join("mode"), Permissions::from_mode(0o4600)).unwrap();
    chown(other.join("owner"), Some(1), Some(2)).unwrap();
    fs::remove_file(other.join("d\n/twin")).unwrap();
    fs::write(other.join("d\n/twin"), "0123456789").unwrap();
    for side in [&one, &other] {
        set_time(side, 1_000);
        counted(side).iter().for_each(|(path, _)| set_time(path, 1_000));
    }
    set_time(&other.join("time"), 1_001);
    set_time(&other.join("d\n"), 1_002);
    assert_eq!(
        difference(&one, &other),
        [
            "content: content this, not that, from byte 6 on",
            "d\\n: time 0.000001000, not 0.000001002",
            "here: presence a file, not nothing",
            "kind: kind a file, not a directory",
            "mode: mode 0644, not 4600",
            "owner: owner 0:0, not 1:2",
            "size: size 10, not 4",
            "target: target to, not from",
            "time: time 0.000001000, not 0.000001001",
            "d\\n/twin: hard links d\\n/twin = twin, not alone",
            "twin: hard links d\\n/twin = twin, not alone",
        ]
    );
    let without = [Aspect::HardLinks, Aspect::Owner, Aspect::Mode, Aspect::Time, Aspect::Presence];
    let found = difference_except(&one, &other, &without);
    let words: Vec<_> = found.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(words, ["content", "kind", "size", "target"]);
}

/// Gives an entry a time; a link is not followed.
fn set_time(path: &Path, nanoseconds: i64) {
    let time = Timespec { tv_sec: 0, tv_nsec: nanoseconds };
    let times = Timestamps { last_access: time, last_modification: time };
    utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
}

#[test]
fn changes_follow_from_the_seed_and_none_escapes_the_judge() {
    let dir = pair();
    build(&dir.path().join("untouched"), &SMALL, 1).unwrap();
    let one = mutate(&dir.path().join("one"), 5, 80).unwrap();
    let other = mutate(&dir.path().join("other"), 5, 80).unwrap();
    assert_eq!(one, other);
    assert_eq!(one.len(), 80);
    // Both were changed at different moments, so times differ, and nothing else.
    let same = difference_except(&dir.path().join("one"), &dir.path().join("other"), &[Aspect::Time]);
    assert_eq!(same, Vec::<String>::new());
    assert_ne!(difference(&dir.path().join("one"), &dir.path().join("untouched")), Vec::<String>::new());
}

#[test]
fn every_single_change_is_seen() {
    for seed in 0..100 {
        let dir = pair();
        let change = mutate(&dir.path().join("one"), seed, 1).unwrap();
        assert_ne!(compare(&dir), Vec::<String>::new(), "seed {seed}: {change:?}");
    }
}

#[test]
fn odd_trees_can_be_changed_and_a_tree_of_nothing_gets_something() {
    let dir = tempfile::tempdir().unwrap();
    edge_cases(&dir.path().join("strange"), 1).unwrap();
    assert_eq!(mutate(&dir.path().join("strange"), 1, 300).unwrap().len(), 300);
    let empty = dir.path().join("empty");
    fs::create_dir(&empty).unwrap();
    assert_eq!(mutate(&empty, 1, 20).unwrap().len(), 20);
}

#[test]
fn a_tree_that_is_not_there_is_a_difference() {
    let dir = pair();
    let found = difference(&dir.path().join("one"), &dir.path().join("gone"));
    assert_eq!(found.len(), 1);
    assert!(found[0].contains("gone: No such file or directory"), "{found:?}");
}
