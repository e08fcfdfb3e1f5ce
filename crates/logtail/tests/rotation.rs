//! A thousand rotations of each kind while a program writes as fast as it can: the output equals the input.

// clippy's exception for tests does not cover functions that tests share.
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
/// Maximum number of lines that the program is ahead of the output: the slowest part sets the pace.
const AHEAD: usize = 400;
/// Reported after two rotations within one scan if one file is kept: there may have been more.
const UNSURE: &str =
    "logtail | x may be missing lines: it was rotated or truncated, and the last file read no longer exists";

/// Progress of all parties.
#[derive(Default)]
struct Progress {
    /// Number of lines that are at least partly written.
    begun: usize,
    printed: usize,
    /// For each file of the log, the number of lines started when the program opened it.
    files: Vec<usize>,
    /// True if the program has to reopen its log, as after a signal.
    reopen: bool,
    rotated: bool,
}

/// A program that writes, a process that rotates, and their shared state.
struct Load<'a> {
    path: &'a Path,
    progress: Mutex<Progress>,
    changed: Condvar,
    /// Held by the rotating process while the program must not write.
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

    /// Writes lines until all rotations are done; returns their digest.
    fn write(&self) -> Vec<u8> {
        let mut written = Sha256::new();
        let mut file = None;
        for number in 0.. {
            let is_last = self.wait(|progress| progress.begun < progress.printed + AHEAD).rotated;
            // Halves of neighbouring lines differ: a truncated log that starts with the bytes already read would look
            // unchanged.
            let text = if is_last { "end".to_owned() } else { number.to_string().repeat(2 + number % 16) };
            let line = if is_last { text + "\n" } else { format!("{number} {text}\n") };
            written.update(&line);
            // Two writes, so that rotations also happen within a line.
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

    /// Rotates as soon as `may` allows it (it receives the number of rotations) and the program uses the new file.
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

/// Maximum number of unread rotated files: a file without a name cannot be found any more.
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
    // It ignores files that were rotated before it started.
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

/// Reads the output; returns its digest.
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
        // The digest would differ too, but without the position.
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

/// logrotate's default: the program writes to the old file until it gets a signal.
#[test]
fn renamed_with_six_kept() {
    check(unread(4), |load| {
        shift(load.path, 6);
        fs::rename(load.path, load.path.with_extension("log.1")).unwrap();
        load.reopen();
    });
}

/// supervisord's way: the process that writes also rotates.
#[test]
fn renamed_with_one_kept() {
    check(unread(1), |load| {
        let _held = load.held.lock().unwrap();
        fs::rename(load.path, load.path.with_extension("log.1")).unwrap();
        load.reopen();
    });
}

/// logrotate's `copytruncate`, except that the program is paused between copy and truncation: lines written then would be
/// in no file.
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

/// `supervisorctl clear`: the program writes to the deleted file until it gets a signal. The file was opened before, as it
/// cannot be found afterwards; its later content need not be read.
#[test]
fn deleted_and_recreated() {
    check(
        |rotation, progress| progress.printed > progress.files[rotation],
        |load| {
            fs::remove_file(load.path).unwrap();
            load.reopen();
        },
    );
}
