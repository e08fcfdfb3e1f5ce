//! What this program has made: its links and directories, remembered across restarts.
//!
//! The file is a log to which whole records are appended before a link is made and after one is removed. A kill at any
//! instant therefore leaves no link without a record, and a record without its link does no harm: whatever is removed
//! later must still be a link with the very text that the record says. The log is written anew, replaced atomically, when
//! most of it is history. Records are fields that end in NUL, because names may hold any other byte.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::fs::OpenOptions;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, Placement};

use crate::held::{Draft, Held, Source};

/// Records of history that are not worth writing the log anew.
const TOLERATED: usize = 20_000;
const MODE: u32 = 0o644;
/// No path in a record is longer, in bytes: the volume's users can write one of the logs.
const LONGEST: u64 = 64 << 10;

/// Our links and directories.
#[derive(Debug)]
pub struct Ledger {
    file: PathBuf,
    sources: Vec<PathBuf>,
    numbers: HashMap<PathBuf, Source>,
    links: BTreeMap<PathBuf, Held>,
    /// Links that an earlier run was about to replace, by directory and name, with the source they led into before.
    doubts: BTreeMap<PathBuf, BTreeMap<Vec<u8>, Source>>,
    directories: BTreeSet<PathBuf>,
    records: usize,
    pending: Vec<u8>,
    /// A kill tore the last record of the log apart; it would swallow the next one.
    torn: bool,
}

/// One record of the log.
#[derive(Debug, Clone, Copy)]
pub enum Record<'a> {
    /// A link of this name in this directory leads to the same name in that source directory.
    Link(&'a Path, &'a [u8], Source),
    /// The link is no longer ours.
    Unlink(&'a Path, &'a [u8], Source),
    /// We made this directory.
    Directory(&'a Path),
    /// It is no longer there, or no longer ours.
    Forget(&'a Path),
}

impl Ledger {
    /// Knows nothing yet.
    pub fn empty(file: &Path) -> Self {
        Self {
            file: file.to_owned(),
            sources: Vec::new(),
            numbers: HashMap::new(),
            links: BTreeMap::new(),
            doubts: BTreeMap::new(),
            directories: BTreeSet::new(),
            records: 0,
            pending: Vec::new(),
            torn: false,
        }
    }

    /// Reads the log, and changes nothing, because its writer may be at work; none is an empty one. Records that `believe` refuses (directory of the link, source) are left out.
    pub fn load(file: &Path, believe: impl Fn(&Path, &Path) -> bool) -> Result<Self> {
        let mut ledger = Self::empty(file);
        let cannot = || format!("cannot read {}", file.display());
        let mut options = OpenOptions::new();
        options.read(true).custom_flags(nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK);
        let opened = match options.open(file) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(ledger),
            opened => opened.with_context(cannot)?,
        };
        if !opened.metadata().with_context(cannot)?.is_file() {
            anyhow::bail!("{} is not a file", file.display());
        }
        ledger.torn = !ledger.replay(BufReader::new(opened), believe).with_context(cannot)?;
        ledger.links.values_mut().for_each(Held::shrink);
        Ok(ledger)
    }

    /// Applies all records; says whether the last one was whole.
    fn replay(&mut self, mut log: impl BufRead, believe: impl Fn(&Path, &Path) -> bool) -> io::Result<bool> {
        let mut drafts: BTreeMap<PathBuf, Draft> = BTreeMap::new();
        let mut fields: [Vec<u8>; 3] = Default::default();
        let whole = loop {
            let [operation, path, source] = &mut fields;
            match (field(&mut log, operation)?, field(&mut log, path)?, field(&mut log, source)?) {
                (Field::End, ..) => break true,
                (Field::Whole, Field::Whole, Field::Whole) => {}
                _ => break false,
            }
            self.records += 1;
            let (path, source) = (as_path(path), as_path(source));
            let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { continue };
            match operation.as_slice() {
                b"d" if believe(directory, source) => {
                    self.directories.insert(path.to_owned());
                }
                b"f" => {
                    self.directories.remove(path);
                }
                b"+" if believe(directory, source) => {
                    let number = self.number(source);
                    if !drafts.contains_key(directory) {
                        drafts.insert(directory.to_owned(), Draft::default());
                    }
                    if let Some(draft) = drafts.get_mut(directory) {
                        draft.link(name.as_bytes(), number);
                    }
                }
                b"-" => {
                    let number = self.number(source);
                    if let Some(draft) = drafts.get_mut(directory) {
                        draft.unlink(name.as_bytes(), number);
                    }
                }
                _ => {}
            }
        };
        for (path, draft) in drafts {
            let (held, doubts) = draft.settle();
            if !doubts.is_empty() {
                self.doubts.insert(path.clone(), doubts);
            }
            if !held.is_empty() {
                self.links.insert(path, held);
            }
        }
        Ok(whole)
    }

    /// The number of a source directory, for as long as this ledger lives.
    pub fn number(&mut self, source: &Path) -> Source {
        if let Some(number) = self.numbers.get(source) {
            return *number;
        }
        let number = Source::try_from(self.sources.len()).unwrap_or(Source::MAX);
        self.sources.push(source.to_owned());
        self.numbers.insert(source.to_owned(), number);
        number
    }

    /// The number of a source directory that has one.
    pub fn known(&self, source: &Path) -> Option<Source> {
        self.numbers.get(source).copied()
    }

    /// The source directory of a number.
    pub fn source(&self, number: Source) -> &Path {
        self.sources.get(number as usize).map_or(Path::new(""), PathBuf::as_path)
    }

    /// Our links in a directory.
    pub fn held(&self, directory: &Path) -> Option<&Held> {
        self.links.get(directory)
    }

    /// Our links in a directory, once it is known which of those that were about to be replaced still lead where they did.
    pub fn settled(&self, directory: &Path, leads: impl Fn(&[u8]) -> Option<Source>) -> Option<Held> {
        let mut held = self.held(directory)?.clone();
        if let Some(doubts) = self.doubts.get(directory) {
            let mut draft = Draft::default();
            for (name, source) in held.iter() {
                let before = doubts.get(name).copied().filter(|before| leads(name) == Some(*before));
                draft.link(name, before.unwrap_or(source));
            }
            held = draft.finish();
        }
        Some(held)
    }

    /// Replaces what we know about a directory; the records are the caller's business.
    pub fn hold(&mut self, directory: &Path, mut held: Held) {
        self.doubts.remove(directory);
        if held.is_empty() {
            self.links.remove(directory);
        } else {
            held.shrink();
            self.links.insert(directory.to_owned(), held);
        }
    }

    /// Whether a directory was made by us.
    pub fn made(&self, directory: &Path) -> bool {
        self.directories.contains(directory)
    }

    /// All directories that hold a link of ours or were made by us.
    pub fn places(&self) -> impl Iterator<Item = &PathBuf> {
        self.links.keys().chain(self.directories.iter())
    }

    /// How many links are ours.
    pub fn count(&self) -> usize {
        self.links.values().map(Held::len).sum()
    }

    /// Whether the path is a link of ours.
    pub fn is_ours(&self, path: &Path) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.held(directory).is_some_and(|held| held.contains(name.as_bytes()))
    }

    /// Notes a record; it is in the log after [`Ledger::save`].
    pub fn note(&mut self, record: Record<'_>) {
        let (operation, path, source) = match record {
            Record::Link(directory, name, source) => {
                ("+", directory.join(OsStr::from_bytes(name)), Some(source))
            }
            Record::Unlink(directory, name, source) => {
                ("-", directory.join(OsStr::from_bytes(name)), Some(source))
            }
            Record::Directory(path) => {
                self.directories.insert(path.to_owned());
                ("d", path.to_owned(), None)
            }
            Record::Forget(path) => {
                self.directories.remove(path);
                ("f", path.to_owned(), None)
            }
        };
        let source = source.and_then(|number| self.sources.get(number as usize));
        let source = source.map_or(&[][..], |path| path.as_os_str().as_bytes());
        push(&mut self.pending, operation, path.as_os_str().as_bytes(), source);
        self.records += 1;
    }

    /// Appends what was noted, in one write.
    pub fn save(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        if self.torn {
            let pending = std::mem::take(&mut self.pending);
            let rewritten = self.rewrite();
            self.pending = pending;
            rewritten?;
        }
        let cannot = || format!("cannot write {}", self.file.display());
        if let Some(folder) = self.file.parent() {
            std::fs::create_dir_all(folder).with_context(cannot)?;
        }
        let mut options = OpenOptions::new();
        // A pipe in its place must not stop us.
        let flags = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;
        options.append(true).create(true).mode(MODE).custom_flags(flags);
        // Opened each time: another container with the same image may have replaced the file on a shared volume.
        let mut log = options.open(&self.file).with_context(cannot)?;
        let meta = log.metadata().with_context(cannot)?;
        if !meta.is_file() {
            anyhow::bail!("{} is not a file", self.file.display());
        }
        if let Err(error) = log.write_all(&self.pending) {
            // On a full disk a part may have been written, which would swallow the next record.
            let _ = log.set_len(meta.len());
            return Err(error).with_context(cannot);
        }
        self.pending = Vec::new();
        Ok(())
    }

    /// Shortens the log if most of it is history.
    pub fn tidy(&mut self) -> Result<()> {
        if self.is_mostly_history() { self.rewrite() } else { Ok(()) }
    }

    fn is_mostly_history(&self) -> bool {
        self.records > 2 * (self.count() + self.directories.len()) + TOLERATED
    }

    fn rewrite(&mut self) -> Result<()> {
        let mut log = Vec::new();
        for path in &self.directories {
            push(&mut log, "d", path.as_os_str().as_bytes(), b"");
        }
        for (directory, held) in &self.links {
            let doubts = self.doubts.get(directory);
            for (name, source) in held.iter() {
                let path = directory.join(OsStr::from_bytes(name));
                if let Some(before) = doubts.and_then(|doubts| doubts.get(name)) {
                    let before = self.source(*before).as_os_str().as_bytes();
                    push(&mut log, "+", path.as_os_str().as_bytes(), before);
                }
                push(&mut log, "+", path.as_os_str().as_bytes(), self.source(source).as_os_str().as_bytes());
            }
        }
        atomic::write(&self.file, &log, Placement::volatile(MODE))?;
        self.records = self.count() + self.directories.len();
        self.pending = Vec::new();
        self.torn = false;
        Ok(())
    }
}

fn push(log: &mut Vec<u8>, operation: &str, path: &[u8], source: &[u8]) {
    for field in [operation.as_bytes(), path, source] {
        log.extend_from_slice(field);
        log.push(0);
    }
}

fn as_path(bytes: &[u8]) -> &Path {
    Path::new(OsStr::from_bytes(bytes))
}

#[derive(Debug, PartialEq, Eq)]
enum Field {
    Whole,
    Torn,
    End,
}

fn field(log: &mut impl BufRead, field: &mut Vec<u8>) -> io::Result<Field> {
    field.clear();
    log.take(LONGEST).read_until(0, field)?;
    Ok(match field.pop() {
        Some(0) => Field::Whole,
        Some(_) => Field::Torn,
        None => Field::End,
    })
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn links(ledger: &Ledger) -> Vec<(String, String, String)> {
        let text = |path: &Path| path.to_str().unwrap().to_owned();
        let all =
            ledger.links.iter().flat_map(|(directory, held)| held.iter().map(move |link| (directory, link)));
        all.map(|(directory, (name, source))| {
            (text(directory), String::from_utf8(name.to_vec()).unwrap(), text(ledger.source(source)))
        })
        .collect()
    }

    fn written(file: &Path) -> Ledger {
        let mut ledger = Ledger::load(file, |_, _| true).unwrap();
        let (a, b) = (ledger.number(Path::new("/s/a")), ledger.number(Path::new("/s/b")));
        ledger.note(Record::Link(Path::new("/t"), b"one\n", a));
        ledger.note(Record::Link(Path::new("/t"), b"two", a));
        ledger.note(Record::Link(Path::new("/t"), b"two", b));
        ledger.note(Record::Unlink(Path::new("/t"), b"one\n", a));
        ledger.note(Record::Unlink(Path::new("/t"), b"two", a));
        ledger.note(Record::Directory(Path::new("/t/d")));
        ledger.note(Record::Directory(Path::new("/t/e")));
        ledger.note(Record::Forget(Path::new("/t/d")));
        ledger.save().unwrap();
        ledger
    }

    #[test]
    fn what_was_noted_is_known_after_a_restart() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        written(&file);
        let ledger = Ledger::load(&file, |_, _| true).unwrap();
        assert_eq!(links(&ledger), [("/t".into(), "two".into(), "/s/b".into())]);
        assert!(ledger.made(Path::new("/t/e")) && !ledger.made(Path::new("/t/d")));
    }

    #[test]
    fn a_torn_record_is_passed_over_and_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        written(&file);
        let whole = fs::read(&file).unwrap();
        for kept in 0..whole.len() {
            fs::write(&file, &whole[..kept]).unwrap();
            let mut ledger = Ledger::load(&file, |_, _| true).unwrap();
            assert_eq!(fs::read(&file).unwrap(), whole[..kept], "reading changes nothing");
            let number = ledger.number(Path::new("/s"));
            ledger.note(Record::Link(Path::new("/u"), b"new", number));
            ledger.save().unwrap();
            let found = links(&Ledger::load(&file, |_, _| true).unwrap());
            assert_eq!(found.last(), Some(&("/u".into(), "new".into(), "/s".into())), "{kept}");
        }
    }

    #[test]
    fn records_that_are_not_believed_are_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        written(&file);
        let ledger = Ledger::load(&file, |directory, _| directory.starts_with("/elsewhere")).unwrap();
        assert_eq!((links(&ledger), ledger.made(Path::new("/t/e"))), (Vec::new(), false));
    }

    #[test]
    fn a_link_in_the_ledgers_place_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        std::os::unix::fs::symlink("/etc/passwd", &file).unwrap();
        assert!(Ledger::load(&file, |_, _| true).is_err());
    }

    #[test]
    fn a_record_that_a_full_disk_cut_does_not_spoil_the_next() {
        let folder = tempfile::tempdir().unwrap();
        let run = |program: &str, arguments: &[&str]| {
            let status = std::process::Command::new(program).args(arguments).arg(folder.path()).status();
            assert!(status.unwrap().success());
        };
        run("mount", &["-t", "tmpfs", "-o", "size=64k", "none"]);
        let file = folder.path().join("ledger");
        let mut ledger = Ledger::load(&file, |_, _| true).unwrap();
        let number = ledger.number(Path::new("/s"));
        fs::write(folder.path().join("ballast"), vec![0; 60 << 10]).unwrap();
        // The page that is left ends within the path of a record.
        for name in 0..1_000 {
            ledger.note(Record::Link(Path::new("/t"), format!("{name:05}").as_bytes(), number));
        }
        let refused = ledger.save().is_err();
        fs::remove_file(folder.path().join("ballast")).unwrap();
        let saved = ledger.save().is_ok();
        let known = links(&Ledger::load(&file, |_, _| true).unwrap()).len();
        run("umount", &[]);
        assert_eq!((refused, saved, known), (true, true, 1_000));
    }
}
