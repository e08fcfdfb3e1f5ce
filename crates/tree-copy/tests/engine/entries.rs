//! Each kind of entry arrives as it was.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};

use rustix::fs::{CWD, FileType, Mode, OFlags, mkdirat, mknodat, openat};
use tree_copy::{Capabilities, NoteKind, Options};

use crate::fixture::{Trees, describe, note};

#[test]
fn a_plain_tree_is_copied_and_counted() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source.join("a/b/empty")).unwrap();
    fs::write(trees.source.join("a/file"), "text").unwrap();
    fs::write(trees.source.join("a/b/nothing"), "").unwrap();
    fs::write(trees.source.join("large"), vec![7; 3 << 20]).unwrap();
    symlink("a/file", trees.source.join("link")).unwrap();
    let done = trees.pass_and_compare();
    assert_eq!(
        (done.entries, done.files, done.bytes, done.copied_files, done.copied_bytes, done.updated),
        (7, 3, (3 << 20) + 4, 3, (3 << 20) + 4, 7)
    );
}

#[test]
fn links_are_copied_as_they_are_wherever_they_lead() {
    let trees = Trees::new();
    let long = "x/".repeat(2000) + "y";
    for (name, text) in [("loop", "loop"), ("up", "../../.."), ("broken", "/no/such"), ("long", &long)] {
        symlink(text, trees.source.join(name)).unwrap();
    }
    trees.pass_and_compare();
    assert_eq!(fs::read_link(trees.target.join("long")).unwrap().as_os_str().len(), 4001);
}

#[test]
fn hard_links_stay_one_file_across_directories() {
    let trees = Trees::new();
    for directory in ["a", "b", "c"] {
        fs::create_dir(trees.source.join(directory)).unwrap();
    }
    for number in 0..200 {
        let first = trees.source.join(format!("a/{number}"));
        fs::write(&first, format!("content {number}")).unwrap();
        fs::hard_link(&first, trees.source.join(format!("b/{number}"))).unwrap();
        fs::hard_link(&first, trees.source.join(format!("c/{number}"))).unwrap();
    }
    symlink("anywhere", trees.source.join("link")).unwrap();
    fs::hard_link(trees.source.join("link"), trees.source.join("same link")).unwrap();
    let done = trees.pass_and_compare();
    assert_eq!((done.copied_files, done.files), (200, 600));
    assert_eq!(
        done.bytes,
        fs::read_dir(trees.source.join("a"))
            .unwrap()
            .map(|e| e.unwrap().metadata().unwrap().len())
            .sum::<u64>()
    );
}

#[test]
fn a_hard_link_to_outside_the_tree_is_an_ordinary_file() {
    let trees = Trees::new();
    fs::write(trees.source.join("in"), "x").unwrap();
    fs::hard_link(trees.source.join("in"), trees.source.with_file_name("out")).unwrap();
    trees.pass();
    assert_eq!(fs::metadata(trees.target.join("in")).unwrap().nlink(), 1);
    assert_eq!(trees.pass().updated, 0);
}

#[test]
fn without_hard_links_each_name_is_a_file() {
    let trees = Trees::new();
    fs::write(trees.source.join("a"), "x").unwrap();
    fs::hard_link(trees.source.join("a"), trees.source.join("b")).unwrap();
    let can = Capabilities { hard_links: false, ..trees.can };
    let options = Options { capabilities: &can, ..trees.options() };
    let done = trees.pass_with(&options).unwrap().0;
    assert_eq!((done.copied_files, done.updated), (2, 2));
    assert_eq!(trees.pass_with(&options).unwrap().0.updated, 0);
}

#[test]
fn holes_take_no_space() {
    let trees = Trees::new();
    let file = File::create(trees.source.join("sparse")).unwrap();
    file.set_len(1 << 30).unwrap();
    file.write_all_at(b"data", 500 << 20).unwrap();
    let empty = File::create(trees.source.join("only a hole")).unwrap();
    empty.set_len(5 << 20).unwrap();
    let done = trees.pass();
    assert!(done.copied_bytes <= 64 * 1024, "{done:?}");
    let copy = File::open(trees.target.join("sparse")).unwrap();
    let mut data = [0; 5];
    copy.read_exact_at(&mut data, 500 << 20).unwrap();
    assert_eq!((&data, copy.metadata().unwrap().len()), (b"data\0", 1 << 30));
    assert!(copy.metadata().unwrap().blocks() * 512 <= 64 * 1024);
    assert_eq!(fs::metadata(trees.target.join("only a hole")).unwrap().len(), 5 << 20);
    assert_eq!(trees.pass().updated, 0);
}

#[test]
fn names_may_be_any_bytes() {
    let trees = Trees::new();
    for name in [&b"new\nline"[..], b"\xff\xfe", b"-rf", b" ", b"*", b"'\"$(x)`", &[b'n'; 255]] {
        fs::write(trees.source.join(OsStr::from_bytes(name)), name).unwrap();
    }
    fs::create_dir(trees.source.join(OsStr::from_bytes(b"d\n\xff"))).unwrap();
    assert_eq!(trees.pass_and_compare().entries, 8);
}

#[test]
fn paths_longer_than_any_call_takes_are_copied_compared_and_removed() {
    let trees = Trees::new();
    let name = "d".repeat(200);
    let mut here: std::os::fd::OwnedFd = File::open(&trees.source).unwrap().into();
    for _ in 0..60 {
        mkdirat(&here, &name, Mode::RWXU).unwrap();
        here = openat(&here, &name, OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    let flags = OFlags::WRONLY | OFlags::CREATE;
    drop(openat(&here, "deep", flags, Mode::RUSR).unwrap());
    let done = trees.pass();
    assert_eq!((done.entries, done.updated, done.copied_files), (61, 61, 1));
    let again = trees.pass();
    assert_eq!((again.entries, again.updated, again.digest), (61, 0, done.digest));
    // Remove it from the source by a pass over an empty tree.
    let empty = trees.source.with_file_name("empty");
    fs::create_dir(&empty).unwrap();
    for tree in [&trees.target, &trees.source] {
        let gone = tree_copy::pass(&empty, tree, &trees.options(), &tree_copy::NoObserver).unwrap();
        assert_eq!(gone.removed, 61);
    }
}

#[test]
fn two_thousand_levels_need_few_descriptors() {
    let trees = Trees::new();
    let mut here: std::os::fd::OwnedFd = File::open(&trees.source).unwrap().into();
    for _ in 0..2000 {
        mkdirat(&here, "d", Mode::RWXU).unwrap();
        here = openat(&here, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
    }
    drop(openat(&here, "deep", OFlags::WRONLY | OFlags::CREATE, Mode::RUSR).unwrap());
    let done = trees.pass();
    assert_eq!((done.entries, done.updated), (2001, 2001));
    assert_eq!(trees.pass().updated, 0);
}

#[test]
fn a_directory_of_many_names_is_copied_and_emptied() {
    let trees = Trees::new();
    fs::create_dir(trees.source.join("many")).unwrap();
    for number in 0..5000 {
        File::create(trees.source.join(format!("many/a name that is not short {number}"))).unwrap();
    }
    assert_eq!(trees.pass_and_compare().copied_files, 5000);
    for number in 0..4999 {
        fs::remove_file(trees.source.join(format!("many/a name that is not short {number}"))).unwrap();
    }
    assert_eq!(trees.pass_and_compare().removed, 4999);
}

#[test]
fn special_files_are_made_again() {
    let trees = Trees::new();
    let make = |name: &str, kind, device| {
        mknodat(CWD, trees.source.join(name), kind, Mode::from_raw_mode(0o640), device).unwrap();
    };
    make("fifo", FileType::Fifo, 0);
    make("socket", FileType::Socket, 0);
    make("null", FileType::CharacterDevice, rustix::fs::makedev(1, 3));
    assert_eq!(trees.pass_and_compare().updated, 3);
}

#[test]
fn a_special_file_that_cannot_be_made_is_skipped_and_said() {
    let trees = Trees::new();
    mknodat(CWD, trees.source.join("fifo"), FileType::Fifo, Mode::RUSR, 0).unwrap();
    let can = Capabilities { special_files: false, ..trees.can };
    for write in [true, false] {
        let options = Options { capabilities: &can, write, ..trees.options() };
        let (done, notes) = trees.pass_with(&options).unwrap();
        assert_eq!((done.skipped, done.differing, done.updated), (1, 0, 0));
        assert_eq!(notes, [note("fifo", NoteKind::SkippedSpecial("FIFO"))]);
    }
}

#[test]
fn kept_names_are_neither_copied_nor_removed_nor_compared() {
    let trees = Trees::new();
    fs::write(trees.source.join("file"), "x").unwrap();
    fs::write(trees.source.join(".lock"), "source's").unwrap();
    fs::create_dir(trees.source.join("below")).unwrap();
    fs::write(trees.source.join("below/.lock"), "copied").unwrap();
    fs::write(trees.target.join(".lock"), "target's").unwrap();
    fs::write(trees.target.join(".complete"), "").unwrap();
    let keep = [OsStr::new(".lock"), OsStr::new(".complete")];
    let options = Options { keep: &keep, ..trees.options() };
    let done = trees.pass_with(&options).unwrap().0;
    assert_eq!((done.entries, done.updated, done.removed), (3, 3, 0));
    assert_eq!(fs::read_to_string(trees.target.join(".lock")).unwrap(), "target's");
    assert!(trees.target.join(".complete").exists() && trees.target.join("below/.lock").exists());
    let compared = trees.pass_with(&Options { write: false, ..options }).unwrap().0;
    assert_eq!((compared.differing, compared.entries), (0, 3));
}

#[test]
fn the_roots_may_be_reached_through_links_but_nothing_below_them() {
    let trees = Trees::new();
    fs::write(trees.source.join("file"), "x").unwrap();
    let link = trees.source.with_file_name("link");
    symlink(&trees.source, &link).unwrap();
    tree_copy::pass(&link, &trees.target, &trees.options(), &tree_copy::NoObserver).unwrap();
    assert_eq!(describe(&trees.source), describe(&trees.target));
}
