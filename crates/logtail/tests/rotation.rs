//! A thousand rotations of each kind while a program writes as quickly as it can: what comes out is what went in.

// The lint's exception for tests does not reach the functions that tests share.
#![allow(clippy::unwrap_used, dead_code)]

mod fixture;

use std::fs::{self, File, OpenOptions};
use std::io::Write;
use std::path::Path;
use std::sync::{Condvar, Mutex, MutexGuard};
use std::thread;

use fixture::{DEADLINE, Follower, Machine, append};
use sha2::{Digest, Sha256};

const ROTATIONS: usize = 1_000;
/// Lines that the program is ahead of what was printed, at most: the pace of the whole is that of the slowest.
const AHEAD: usize = 400;
/// Said after two rotations in one look, where one file is kept: nobody can tell whether there were more.
const UNSURE: &str =
    "logtail | x may be missing lines: it was rotated or truncated, and the last file read no longer exists";

/// How far everybody is.
#[derive(Default)]
struct Progress {
    /// Lines of which something is written.
    begun: usize,
    printed: usize,
    /// For each file of the log, how many lines had been begun when it was opened by the program.
    files: Vec<usize>,
    /// The program shall open its log anew, as after a signal.
    reopen: bool,
    rotated: bool,
}

/// A program that writes, somebody who rotates, and what they know of each other.
struct Load<'a> {
    path: &'a Path,
    progress: Mutex<Progress>,
    changed: Condvar,
    /// Who rotates holds the program with this, where it has to stand still.
    held: Mutex<()>,
}

impl Load<'_> {
    fn wait(&self, until: impl Fn(&Progress) -> bool) -> MutexGuard<'_, Progress> {
        let progress = self.progress.lock().unwrap();
        let waited = self.changed.wait_timeout_while(progress, DEADLINE, |progress| !until(progress));
        let (progress, timeout) = waited.unwrap();
        assert!(!timeout.timed_out(), "stands still at {} of {} lines", progress.printed, progress.begun);
        progress
    }

    fn change(&self, change: impl FnOnce(&mut Progress)) {
        change(&mut self.progress.lock().unwrap());
        self.changed.notify_all();
    }

    /// Writes lines until all rotations are done; returns the digest of what it wrote.
    fn write(&self) -> Vec<u8> {
        let mut written = Sha256::new();
        let mut file = None;
        for number in 0.. {
            let is_last = self.wait(|progress| progress.begun < progress.printed + AHEAD).rotated;
            // Halves of neighbours differ: a log that goes on after a cut with all that was read of it seems to be uncut.
            let text = if is_last { "end".to_owned() } else { number.to_string().repeat(2 + number % 16) };
            let line = if is_last { text + "\n" } else { format!("{number} {text}\n") };
            written.update(&line);
            // Two writes, so that rotations also meet halves of lines.
            let (one, other) = line.split_at(line.len() / 2);
            self.put(&mut file, one);
            self.change(|progress| progress.begun += 1);
            self.put(&mut file, other);
            if is_last {
                break;
            }
        }
        written.finalize().to_vec()
    }

    fn put(&self, file: &mut Option<File>, text: &str) {
        let _held = self.held.lock().unwrap();
        let mut progress = self.progress.lock().unwrap();
        if std::mem::take(&mut progress.reopen) {
            let begun = progress.begun;
            progress.files.push(begun);
            *file = Some(OpenOptions::new().create(true).append(true).open(self.path).unwrap());
            self.changed.notify_all();
        }
        drop(progress);
        file.as_ref().unwrap().write_all(text.as_bytes()).unwrap();
    }

    /// Rotates, each time as soon as `may`, which is given how many rotations there were, and the program uses the new file.
    fn rotate(&self, may: impl Fn(usize, &Progress) -> bool, rotate: impl Fn(&Self)) {
        for rotation in 0..ROTATIONS {
            drop(self.wait(|progress| {
                progress.files.len() == rotation + 1
                    && progress.begun > progress.files[rotation]
                    && may(rotation, progress)
            }));
            rotate(self);
        }
        self.change(|progress| progress.rotated = true);
    }

    fn reopen(&self) {
        self.change(|progress| progress.reopen = true);
    }
}

/// So many of the rotated files may be unread, because a file that has no name any more when it is looked for cannot be
/// found by anybody.
fn unread(files: usize) -> impl Fn(usize, &Progress) -> bool {
    move |rotation, progress| {
        (rotation + 1).checked_sub(files).is_none_or(|file| progress.printed >= progress.files[file])
    }
}

fn check(may: impl Fn(usize, &Progress) -> bool + Sync + Send, rotate: impl Fn(&Load) + Sync + Send) {
    let machine = Machine::new();
    let path = machine.log("x");
    append(&path, "");
    let follower = machine.follow();
    // What was rotated before it came is not its business.
    follower.has_open(&path);
    let progress = Progress { reopen: true, ..Progress::default() };
    let load = Load { path: &path, progress: progress.into(), changed: Condvar::new(), held: Mutex::new(()) };
    let (written, printed) = thread::scope(|scope| {
        let writer = scope.spawn(|| load.write());
        scope.spawn(|| load.rotate(may, rotate));
        let printed = print(&follower, &load);
        (writer.join().unwrap(), printed)
    });
    let (code, rest) = follower.stop();
    assert_eq!((code, rest.first(), rest.len()), (Some(0), None, 0), "nothing comes twice");
    assert_eq!(printed, written);
}

/// Takes what is printed; returns its digest.
fn print(follower: &Follower, load: &Load) -> Vec<u8> {
    let mut printed = Sha256::new();
    for number in 0_usize.. {
        let mut line = follower.line();
        while line == UNSURE {
            line = follower.line();
        }
        let text = line.strip_prefix("x | ").unwrap();
        printed.update(text);
        printed.update("\n");
        if text == "end" {
            break;
        }
        // The digest would tell, but not where.
        assert_eq!(text.split(' ').next(), Some(number.to_string().as_str()), "{line}");
        load.change(|progress| progress.printed = number + 1);
    }
    printed.finalize().to_vec()
}

fn shift(path: &Path, keep: u32) {
    let name = |number| path.with_extension(format!("log.{number}"));
    for number in (1..keep).rev() {
        let _ = fs::rename(name(number), name(number + 1));
    }
}

/// As logrotate does it by default: the program writes on into the old file until it is told.
#[test]
fn renamed_with_six_kept() {
    check(unread(4), |load| {
        shift(load.path, 6);
        fs::rename(load.path, load.path.with_extension("log.1")).unwrap();
        load.reopen();
    });
}

/// As supervisord does it here, which is also the one who writes.
#[test]
fn renamed_with_one_kept() {
    check(unread(1), |load| {
        let _held = load.held.lock().unwrap();
        fs::rename(load.path, load.path.with_extension("log.1")).unwrap();
        load.reopen();
    });
}

/// As `copytruncate` of logrotate does it, but for one thing: the program is held between copy and cut. What is written then
/// is in no file any more, whoever reads.
#[test]
fn copied_and_cut() {
    check(unread(4), |load| {
        let _held = load.held.lock().unwrap();
        shift(load.path, 6);
        fs::copy(load.path, load.path.with_extension("log.1")).unwrap();
        OpenOptions::new().write(true).truncate(true).open(load.path).unwrap();
        load.reopen();
    });
}

/// As `supervisorctl clear` does it, and the program writes on into the deleted file until it is told. It was looked at before
/// that, or nobody could find it; what is in it need not be read.
#[test]
fn deleted_and_made_anew() {
    check(
        |rotation, progress| progress.printed > progress.files[rotation],
        |load| {
            fs::remove_file(load.path).unwrap();
            load.reopen();
        },
    );
}
