//! Passes over a target that has something already.

use std::fs::{self, File};
use std::io::Write;
use std::os::unix::fs::{FileExt, MetadataExt, symlink};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, UNIX_EPOCH};

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};
use tree_copy::{Check, Counters, Error, Note, NoteKind, Observer, Options, pass};

use crate::fixture::{Notes, Trees};

/// A tree with one of everything that changes can be about.
fn grown() -> Trees {
    let trees = Trees::new();
    fs::create_dir_all(trees.source.join("d/e")).unwrap();
    for name in ["one", "two", "d/three", "d/e/four"] {
        fs::write(trees.source.join(name), name).unwrap();
    }
    symlink("one", trees.source.join("link")).unwrap();
    trees.pass_and_compare();
    trees
}

/// Waits until an inode was changed some ticks of the clock ago: one that has just changed is always looked at closely.
fn wait_for_clock_tick(path: &Path) {
    let meta = fs::metadata(path).unwrap();
    let changed = Duration::new(meta.ctime().unsigned_abs(), u32::try_from(meta.ctime_nsec()).unwrap());
    let old = || (UNIX_EPOCH + changed).elapsed().is_ok_and(|age| age > Duration::from_millis(50));
    kit::wait::until(Duration::from_secs(10), "the clock", || old().then_some(())).unwrap();
}

#[test]
fn only_what_changed_is_copied() {
    let trees = grown();
    fs::write(trees.source.join("d/three"), "longer than before").unwrap();
    let done = trees.pass_and_compare();
    assert_eq!((done.copied_files, done.copied_bytes, done.updated), (1, 18, 1));
}

#[test]
fn a_changed_file_is_replaced_and_never_written_into() {
    let trees = grown();
    let before = fs::metadata(trees.target.join("one")).unwrap().ino();
    fs::hard_link(trees.target.join("one"), trees.target.with_file_name("snapshot")).unwrap();
    fs::write(trees.source.join("one"), "changed").unwrap();
    trees.pass_and_compare();
    assert_ne!(fs::metadata(trees.target.join("one")).unwrap().ino(), before);
    assert_eq!(fs::read_to_string(trees.target.with_file_name("snapshot")).unwrap(), "one");
}

#[test]
fn what_became_something_else_is_replaced() {
    let trees = grown();
    fs::remove_file(trees.source.join("one")).unwrap();
    fs::create_dir(trees.source.join("one")).unwrap();
    fs::write(trees.source.join("one/inside"), "x").unwrap();
    fs::remove_dir_all(trees.source.join("d")).unwrap();
    fs::write(trees.source.join("d"), "a file now").unwrap();
    fs::remove_file(trees.source.join("two")).unwrap();
    symlink("one", trees.source.join("two")).unwrap();
    fs::remove_file(trees.source.join("link")).unwrap();
    symlink("two", trees.source.join("link")).unwrap();
    trees.pass_and_compare();
}

#[test]
fn a_surplus_goes_only_when_asked() {
    let trees = grown();
    fs::remove_dir_all(trees.source.join("d/e")).unwrap();
    fs::write(trees.target.join("d/mine"), "").unwrap();
    File::open(trees.source.join("d")).unwrap().set_modified(UNIX_EPOCH).unwrap();
    let compared = trees.pass_with(&Options { write: false, ..trees.options() }).unwrap().0;
    // d itself has another time, e is too much, mine too.
    assert_eq!(compared.differing, 3);
    let kept = trees.pass_with(&Options { prune: false, ..trees.options() }).unwrap().0;
    assert_eq!(kept.removed, 0);
    assert!(trees.target.join("d/e/four").exists());
    assert_eq!(trees.pass_and_compare().removed, 3);
}

#[test]
fn comparing_changes_nothing_and_counts_everything() {
    let trees = Trees::new();
    fs::create_dir_all(trees.source.join("d/e")).unwrap();
    fs::write(trees.source.join("d/e/file"), "x").unwrap();
    symlink("x", trees.source.join("link")).unwrap();
    let before = crate::fixture::describe(&trees.target);
    let (compared, notes) = trees.pass_with(&Options { write: false, ..trees.options() }).unwrap();
    assert_eq!((compared.differing, compared.entries, compared.updated), (4, 4, 0), "{notes:?}");
    assert_eq!(crate::fixture::describe(&trees.target), before);
}

#[test]
fn links_in_the_target_are_replaced_and_lead_nowhere() {
    let trees = Trees::new();
    let outside = trees.target.with_file_name("outside");
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("file"), "precious").unwrap();
    fs::create_dir(trees.source.join("d")).unwrap();
    fs::write(trees.source.join("d/file"), "new").unwrap();
    fs::write(trees.source.join("f"), "new").unwrap();
    symlink(&outside, trees.target.join("d")).unwrap();
    symlink(outside.join("file"), trees.target.join("f")).unwrap();
    symlink(&outside, trees.target.join("surplus")).unwrap();
    trees.pass_and_compare();
    assert_eq!(fs::read_to_string(outside.join("file")).unwrap(), "precious");
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 1);
}

#[test]
fn groups_of_hard_links_are_rearranged() {
    let trees = Trees::new();
    let write = |name: &str, text: &str| fs::write(trees.source.join(name), text).unwrap();
    let link = |from: &str, to: &str| fs::hard_link(trees.source.join(from), trees.source.join(to)).unwrap();
    write("a", "same");
    let time = fs::metadata(trees.source.join("a")).unwrap().modified().unwrap();
    link("a", "b");
    link("a", "c");
    link("a", "d");
    trees.pass_and_compare();
    // Two pairs instead of four names, and no other difference.
    for name in ["c", "d"] {
        fs::remove_file(trees.source.join(name)).unwrap();
    }
    write("c", "same");
    File::options().write(true).open(trees.source.join("c")).unwrap().set_modified(time).unwrap();
    link("c", "d");
    trees.pass_and_compare();
    // And single files.
    for name in ["a", "c"] {
        fs::remove_file(trees.source.join(name)).unwrap();
        write(name, "same");
        File::options().write(true).open(trees.source.join(name)).unwrap().set_modified(time).unwrap();
    }
    trees.pass_and_compare();
}

#[test]
fn symbolic_links_that_were_one_become_two_and_one_again() {
    let trees = Trees::new();
    let path = |name: &str| trees.source.join(name);
    let set_time = |name: &str| {
        let time = Timespec { tv_sec: 1, tv_nsec: 0 };
        let times = Timestamps { last_access: time, last_modification: time };
        utimensat(CWD, path(name), &times, AtFlags::SYMLINK_NOFOLLOW).unwrap();
    };
    symlink("somewhere", path("a")).unwrap();
    fs::hard_link(path("a"), path("b")).unwrap();
    set_time("a");
    trees.pass_and_compare();
    // With no other difference.
    fs::remove_file(path("b")).unwrap();
    symlink("somewhere", path("b")).unwrap();
    set_time("b");
    trees.pass_and_compare();
    fs::remove_file(path("b")).unwrap();
    fs::hard_link(path("a"), path("b")).unwrap();
    trees.pass_and_compare();
}

#[test]
fn a_file_renamed_over_another_of_the_same_size_and_time_is_found() {
    let trees = Trees::new();
    for name in ["a", "b"] {
        fs::write(trees.source.join(name), name).unwrap();
        let file = File::options().write(true).open(trees.source.join(name)).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
    }
    trees.pass_and_compare();
    fs::rename(trees.source.join("b"), trees.source.join("a")).unwrap();
    wait_for_clock_tick(&trees.target.join("a"));
    trees.pass_and_compare();
}

#[test]
fn files_take_the_places_of_the_names_of_one_with_the_same_size_and_time() {
    let trees = Trees::new();
    let names = ["a", "b", "c", "d"];
    let place = |name: &str, text: &str| {
        let new = trees.source.with_file_name("new");
        fs::write(&new, text).unwrap();
        let file = File::options().write(true).open(&new).unwrap();
        file.set_modified(UNIX_EPOCH).unwrap();
        fs::rename(&new, trees.source.join(name)).unwrap();
    };
    place("a", "old");
    for name in &names[1..] {
        fs::hard_link(trees.source.join("a"), trees.source.join(name)).unwrap();
    }
    trees.pass_and_compare();
    // The last name that the pass comes to is the only one left of the target's file, which that has just changed.
    for name in names {
        place(name, "new");
    }
    let options = Options { threads: 1, ..trees.options() };
    assert_eq!(trees.pass_with(&options).unwrap().0.copied_files, 4);
    trees.expect_equal();
}

#[test]
fn a_byte_that_changed_behind_the_same_size_and_time_is_found_by_a_close_look() {
    let trees = grown();
    let path = trees.target.join("two");
    let time = fs::metadata(&path).unwrap().modified().unwrap();
    let file = File::options().write(true).open(&path).unwrap();
    file.write_all_at(b"X", 1).unwrap();
    file.set_modified(time).unwrap();
    wait_for_clock_tick(&path);
    assert_eq!(trees.pass().updated, 0, "metadata does not show it");
    let close = Options { check: Check::Content, ..trees.options() };
    let compared = trees.pass_with(&Options { write: false, ..close }).unwrap().0;
    assert_eq!((compared.differing, compared.updated), (1, 0));
    assert_eq!(trees.pass_with(&close).unwrap().0.copied_files, 1);
    trees.expect_equal();
}

/// Changes the source from within a pass, each time anything is counted.
struct Meddler<'a> {
    path: &'a Path,
    once: bool,
    done: AtomicBool,
}

impl Observer for Meddler<'_> {
    fn on_progress(&self, counters: &Counters) {
        if counters.copied_bytes() > 0 && !(self.once && self.done.swap(true, Ordering::Relaxed)) {
            let mut file = File::options().append(true).open(self.path).unwrap();
            file.write_all(b"more").unwrap();
        }
    }
    fn on_note(&self, _note: Note) {}
    fn stop(&self) -> bool {
        false
    }
}

#[test]
fn a_file_that_changes_while_it_is_copied_is_copied_again() {
    let trees = Trees::new();
    let path = trees.source.join("log");
    fs::write(&path, vec![1; 2 << 20]).unwrap();
    let meddler = Meddler { path: &path, once: true, done: AtomicBool::new(false) };
    let done = pass(&trees.source, &trees.target, &trees.options(), &meddler).unwrap();
    assert_eq!((done.unstable, done.copied_files), (0, 1));
    trees.expect_equal();
}

#[test]
fn a_file_that_keeps_changing_is_said_and_looks_different_to_the_next_pass() {
    let trees = Trees::new();
    let path = trees.source.join("log");
    fs::write(&path, vec![1; 2 << 20]).unwrap();
    let meddler = Meddler { path: &path, once: false, done: AtomicBool::new(false) };
    let done = pass(&trees.source, &trees.target, &trees.options(), &meddler).unwrap();
    assert_eq!((done.unstable, done.copied_files), (1, 1));
    assert_eq!(trees.pass_and_compare().copied_files, 1);
}

struct Stopper(AtomicBool);

impl Observer for Stopper {
    fn on_progress(&self, counters: &Counters) {
        if counters.copied_bytes() > 4 << 20 {
            self.0.store(true, Ordering::Relaxed);
        }
    }
    fn on_note(&self, _note: Note) {}
    fn stop(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

#[test]
fn a_stopped_pass_says_so_and_the_next_one_goes_on() {
    let trees = Trees::new();
    for number in 0..20 {
        fs::write(trees.source.join(format!("{number}")), vec![number; 1 << 20]).unwrap();
    }
    let stopped = pass(&trees.source, &trees.target, &trees.options(), &Stopper(AtomicBool::new(false)));
    assert!(matches!(stopped, Err(Error::Stopped)), "{stopped:?}");
    let done = trees.pass_and_compare();
    assert!((1..20).contains(&done.copied_files), "{done:?}");
}

/// Removes files of the source when the pass has listed them and comes to the first.
struct Removes<'a> {
    source: &'a Path,
    asked: AtomicU32,
    on_note: Notes,
}

impl Observer for Removes<'_> {
    fn on_progress(&self, _counters: &Counters) {}
    fn on_note(&self, note: Note) {
        self.on_note.on_note(note);
    }
    fn stop(&self) -> bool {
        // Asked before the root is listed, and then before each entry.
        if self.asked.fetch_add(1, Ordering::Relaxed) == 1 {
            for name in ["one", "two", "three"] {
                fs::remove_file(self.source.join(name)).unwrap();
            }
        }
        false
    }
}

#[test]
fn files_that_vanish_after_they_were_listed_are_noted_and_no_failure() {
    let trees = Trees::new();
    for name in ["one", "two", "three"] {
        fs::write(trees.source.join(name), name).unwrap();
    }
    let observer = Removes { source: &trees.source, asked: AtomicU32::new(0), on_note: Notes::default() };
    let options = Options { threads: 1, ..trees.options() };
    let done = pass(&trees.source, &trees.target, &options, &observer).unwrap();
    assert_eq!((done.vanished, done.entries, done.copied_files), (3, 0, 0));
    let mut on_note = observer.on_note.0.into_inner().unwrap();
    // Their directory changed as well.
    on_note.retain(|note| note.what == NoteKind::Vanished);
    assert_eq!(on_note.len(), 3, "{on_note:?}");
    trees.expect_equal();
}

/// Removes a directory of the source as soon as its names have been read in part.
struct Remover<'a> {
    directory: &'a Path,
    after: u64,
    removed: AtomicBool,
}

impl Observer for Remover<'_> {
    fn on_progress(&self, counters: &Counters) {
        if counters.entries() >= self.after && !self.removed.swap(true, Ordering::Relaxed) {
            fs::remove_dir_all(self.directory).unwrap();
        }
    }
    fn on_note(&self, _note: Note) {}
    fn stop(&self) -> bool {
        false
    }
}

#[test]
fn a_directory_that_goes_after_it_was_opened_is_gone_and_no_failure() {
    for after in [2, 2_000] {
        for counting_alone in [true, false] {
            let trees = grown();
            // More names than are read at once.
            let big = trees.source.join("d/big");
            fs::create_dir(&big).unwrap();
            for number in 0..2_000 {
                fs::write(big.join(format!("a-rather-long-name-{number}")), "").unwrap();
            }
            let remover = Remover { directory: &big, after, removed: AtomicBool::new(false) };
            if counting_alone {
                tree_copy::survey(&trees.source, 1, &[], &remover).unwrap();
            } else {
                let options = Options { threads: 1, ..trees.options() };
                pass(&trees.source, &trees.target, &options, &remover).unwrap();
                trees.pass_and_compare();
            }
            assert!(remover.removed.load(Ordering::Relaxed) && !big.exists());
        }
    }
}

#[test]
fn two_hundred_passes_over_directories_that_come_and_go_do_not_fail() {
    let trees = grown();
    let objects = trees.source.join("objects");
    fs::create_dir(&objects).unwrap();
    let ended = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // As `git gc` does with loose objects.
        scope.spawn(|| {
            for number in 0_u32.. {
                if ended.load(Ordering::Relaxed) {
                    break;
                }
                let directory = objects.join(format!("{:02x}", number % 7));
                fs::create_dir_all(directory.join("inner")).unwrap();
                fs::write(directory.join("inner/object"), "x").unwrap();
                fs::remove_dir_all(&directory).unwrap();
            }
        });
        let failed = (0..200).find_map(|_| {
            let surveyed = tree_copy::survey(&trees.source, 4, &[], &Notes::default()).map(drop);
            surveyed.and_then(|()| trees.pass_with(&trees.options()).map(drop)).err()
        });
        ended.store(true, Ordering::Relaxed);
        assert!(failed.is_none(), "{failed:?}");
    });
    trees.pass_and_compare();
}

#[test]
fn a_root_that_is_not_there_is_an_error() {
    let trees = grown();
    fs::remove_dir_all(&trees.source).unwrap();
    assert!(matches!(trees.pass_with(&trees.options()), Err(Error::Source(_))));
    assert!(trees.target.join("d/e/four").exists(), "nothing is removed for it");
}
