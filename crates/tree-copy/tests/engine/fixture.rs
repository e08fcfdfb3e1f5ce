//! Trees for tests: a place for two, and facts about one.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use rustix::fs::{lgetxattr, llistxattr};
use tempfile::TempDir;
use tree_copy::{Capabilities, Counters, Note, NoteKind, Observer, Options, PassStats, Result, pass, probe};

/// A source, a target, and what the target can.
pub struct Trees {
    _dir: TempDir,
    pub source: PathBuf,
    pub target: PathBuf,
    pub can: Capabilities,
}

impl Trees {
    pub fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (source, target) = (dir.path().join("source"), dir.path().join("target"));
        fs::create_dir(&source).unwrap();
        fs::create_dir(&target).unwrap();
        let can = probe(dir.path()).unwrap();
        Self { _dir: dir, source, target, can }
    }

    pub fn options(&self) -> Options<'_> {
        Options { threads: 4, durable: false, ..Options::new(&self.can) }
    }

    pub fn pass(&self) -> PassStats {
        self.pass_with(&self.options()).unwrap().0
    }

    pub fn pass_with(&self, options: &Options) -> Result<(PassStats, Vec<Note>)> {
        let notes = Notes::default();
        let done = pass(&self.source, &self.target, options, &notes)?;
        let mut notes = notes.0.into_inner().unwrap();
        notes.sort_by(|left, right| left.path.cmp(&right.path));
        Ok((done, notes))
    }

    /// Passes once and expects two equal trees and nothing to do for a second pass.
    #[track_caller]
    pub fn pass_and_compare(&self) -> PassStats {
        let done = self.pass();
        self.expect_equal();
        done
    }

    #[track_caller]
    pub fn expect_equal(&self) {
        let (source, target) = (describe(&self.source), describe(&self.target));
        for (path, description) in &source {
            assert_eq!(Some(description), target.get(path), "{}", path.display());
        }
        assert_eq!(source.keys().collect::<Vec<_>>(), target.keys().collect::<Vec<_>>());
        let again = self.pass();
        assert_eq!((again.updated, again.removed, again.copied_files), (0, 0, 0), "a second pass has work");
        let (compared, notes) = self.pass_with(&Options { write: false, ..self.options() }).unwrap();
        assert_eq!(compared.differing, 0, "{notes:?}");
        assert_eq!(compared.digest, again.digest);
    }
}

/// Collects notes.
#[derive(Default)]
pub struct Notes(pub Mutex<Vec<Note>>);

impl Observer for Notes {
    fn on_progress(&self, _counters: &Counters) {}
    fn on_note(&self, note: Note) {
        self.0.lock().unwrap().push(note);
    }
    fn stop(&self) -> bool {
        false
    }
}

pub fn note(path: &str, what: NoteKind) -> Note {
    Note { path: path.into(), what }
}

/// Everything that a copy keeps, by path; the root is the empty path and has no time.
pub fn describe(root: &Path) -> BTreeMap<PathBuf, String> {
    let mut found = BTreeMap::new();
    let mut groups = BTreeMap::new();
    let mut waiting = vec![PathBuf::new()];
    while let Some(path) = waiting.pop() {
        let full = if path.as_os_str().is_empty() { root.to_owned() } else { root.join(&path) };
        let meta = fs::symlink_metadata(&full).unwrap();
        let kind = meta.file_type();
        let mut parts = vec![format!("{:o} {}:{}", meta.mode(), meta.uid(), meta.gid())];
        if !path.as_os_str().is_empty() {
            parts.push(format!("{}.{:09}", meta.mtime(), meta.mtime_nsec()));
        }
        if kind.is_dir() {
            let mut names: Vec<_> =
                fs::read_dir(&full).unwrap().map(|entry| path.join(entry.unwrap().file_name())).collect();
            names.sort();
            waiting.extend(names);
        } else {
            if meta.nlink() > 1 {
                groups.entry(meta.ino()).or_insert_with(Vec::new).push(path.clone());
            }
            if kind.is_file() {
                parts.push(format!("{} bytes {:x}", meta.len(), sum(&fs::read(&full).unwrap())));
            } else if kind.is_symlink() {
                parts.push(format!("-> {}", fs::read_link(&full).unwrap().display()));
            } else if kind.is_char_device() || kind.is_block_device() {
                parts.push(format!("device {}", meta.rdev()));
            }
        }
        for (name, value) in attributes(&full) {
            parts.push(format!("{name}={value:?}"));
        }
        found.insert(path, parts.join(" "));
    }
    for group in groups.into_values() {
        for path in &group {
            let first = group.iter().min().unwrap();
            if let Some(text) = found.get_mut(path) {
                text.push_str(" = ");
                text.push_str(&first.to_string_lossy());
            }
        }
    }
    found
}

fn sum(bytes: &[u8]) -> u64 {
    // FNV-1a: enough to compare contents.
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, &byte| (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
}

fn attributes(path: &Path) -> Vec<(String, Vec<u8>)> {
    let mut list = vec![0; 4096];
    let length = llistxattr(path, &mut list[..]).unwrap();
    let mut found: Vec<_> = list[..length]
        .split(|&byte| byte == 0)
        .filter(|name| !name.is_empty() && !name.starts_with(b"security.selinux"))
        .map(|name| {
            let mut value = vec![0; 4096];
            let length = lgetxattr(path, std::ffi::OsStr::from_bytes(name), &mut value[..]).unwrap();
            (String::from_utf8_lossy(name).into_owned(), value[..length].to_vec())
        })
        .collect();
    found.sort();
    found
}
