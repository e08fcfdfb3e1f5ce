//! What this program has made: its links and directories, remembered across restarts.
//!
//! The file is a log to which whole records are appended before a link is made and after one is removed. A kill at any
//! instant therefore leaves no link without a record, and a record without its link does no harm: whatever is removed
//! later must still be a link with the very text that the record says. The log is written anew, replaced atomically, when
//! most of it is history.

mod file;
mod log;
mod records;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::BufReader;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

use crate::held::{Builder, Held, Pool, Source};
use file::LedgerFile;
use records::Record;

/// Records of history that are not worth writing the log anew.
const TOLERATED: usize = 20_000;

/// Our links and directories.
#[derive(Debug)]
pub struct Ledger {
    file: LedgerFile,
    sources: Vec<PathBuf>,
    numbers: HashMap<PathBuf, Source>,
    links: BTreeMap<PathBuf, Held>,
    pool: Pool,
    /// Links that an earlier run was about to replace, by directory and name, with the source they led into before.
    doubts: BTreeMap<PathBuf, BTreeMap<Vec<u8>, Source>>,
    directories: BTreeSet<PathBuf>,
    records: usize,
    pending: Vec<u8>,
    /// A kill tore the last record of the log apart; it would swallow the next one.
    torn: bool,
}

/// A change of what is ours.
#[derive(Debug, Clone, Copy)]
pub enum Note<'a> {
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
            file: LedgerFile::new(file),
            sources: Vec::new(),
            numbers: HashMap::new(),
            links: BTreeMap::new(),
            pool: Pool::default(),
            doubts: BTreeMap::new(),
            directories: BTreeSet::new(),
            records: 0,
            pending: Vec::new(),
            torn: false,
        }
    }

    /// Reads the log, and changes nothing, because its writer may be at work; none is an empty one. Records that `believe`
    /// refuses (directory of the link, source) are left out.
    pub fn load(file: &Path, believe: impl Fn(&Path, &Path) -> bool) -> Result<Self> {
        let mut ledger = Self::empty(file);
        if let Some(log) = ledger.file.read()? {
            let replayed = ledger.replay(BufReader::new(log), believe);
            ledger.torn = !replayed.with_context(|| format!("cannot read {}", file.display()))?;
        }
        Ok(ledger)
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

    /// Whether it is not known where some of our links in a directory lead.
    pub fn is_in_doubt(&self, directory: &Path) -> bool {
        self.doubts.contains_key(directory)
    }

    /// Our links in a directory, once it is known which of those that were about to be replaced still lead where they did.
    pub fn settled(&self, directory: &Path, leads: impl Fn(&[u8]) -> Option<Source>) -> Held {
        let held = self.held(directory).cloned().unwrap_or_default();
        let Some(doubts) = self.doubts.get(directory) else { return held };
        let mut settled = self.list();
        for (name, source) in held.iter() {
            let before = doubts.get(name).copied().filter(|before| leads(name) == Some(*before));
            settled.push(name, before.unwrap_or(source));
        }
        settled.finish()
    }

    /// A list of links that can be held.
    pub fn list(&self) -> Builder {
        Builder::new(&self.pool)
    }

    /// Replaces what we know about a directory; the records are the caller's business.
    pub fn hold(&mut self, directory: &Path, held: Held) {
        self.doubts.remove(directory);
        if held.is_empty() {
            self.links.remove(directory);
        } else if self.held(directory) != Some(&held) {
            self.links.insert(directory.to_owned(), held);
        }
    }

    /// The same for these names alone.
    pub fn edit(&mut self, directory: &Path, edits: &BTreeMap<Vec<u8>, Option<Source>>) {
        let none = Held::default();
        let held = self.held(directory).unwrap_or(&none);
        if edits.iter().any(|(name, source)| held.get(name) != *source) {
            let edited = held.edited(edits, &self.pool);
            self.hold(directory, edited);
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
        self.held(directory).is_some_and(|held| held.get(name.as_bytes()).is_some())
    }

    /// Notes a change; it is in the log after [`Ledger::save`].
    pub fn note(&mut self, note: Note<'_>) {
        let path = |directory: &Path, name| directory.join(OsStr::from_bytes(name));
        let source =
            |number: Source| self.sources.get(number as usize).map_or(Path::new(""), PathBuf::as_path);
        match note {
            Note::Link(directory, name, to) => {
                Record::Link(&path(directory, name), source(to)).write(&mut self.pending);
            }
            Note::Unlink(directory, name, to) => {
                Record::Unlink(&path(directory, name), source(to)).write(&mut self.pending);
            }
            Note::Directory(path) => {
                self.directories.insert(path.to_owned());
                Record::Directory(path).write(&mut self.pending);
            }
            Note::Forget(path) => {
                self.directories.remove(path);
                Record::Forget(path).write(&mut self.pending);
            }
        }
        self.records += 1;
    }

    /// Appends what was noted, in one write.
    pub fn save(&mut self) -> Result<()> {
        if self.pending.is_empty() {
            return Ok(());
        }
        // What another container has written since would be lost.
        if std::mem::take(&mut self.torn) && self.file.is_as_we_left_it() {
            let pending = std::mem::take(&mut self.pending);
            let rewritten = self.rewrite();
            self.pending = pending;
            self.torn = rewritten.is_err();
            rewritten?;
        }
        self.file.append(&self.pending)?;
        self.pending.clear();
        Ok(())
    }

    /// Shortens the log if most of it is history.
    pub fn tidy(&mut self) -> Result<()> {
        let history = self.records > 2 * (self.count() + self.directories.len()) + TOLERATED;
        // Where another container with this image writes it as well, its records are not known here.
        if history && self.file.is_as_we_left_it() { self.rewrite() } else { Ok(()) }
    }
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
        ledger.note(Note::Link(Path::new("/t"), b"one\n", a));
        ledger.note(Note::Link(Path::new("/t"), b"two", a));
        ledger.note(Note::Link(Path::new("/t"), b"two", b));
        ledger.note(Note::Unlink(Path::new("/t"), b"one\n", a));
        ledger.note(Note::Unlink(Path::new("/t"), b"two", a));
        ledger.note(Note::Directory(Path::new("/t/d")));
        ledger.note(Note::Directory(Path::new("/t/e")));
        ledger.note(Note::Forget(Path::new("/t/d")));
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
            ledger.note(Note::Link(Path::new("/u"), b"new", number));
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
    fn a_log_that_another_container_writes_too_keeps_its_records() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("ledger");
        let mut ours = Ledger::load(&file, |_, _| true).unwrap();
        let mut theirs = Ledger::load(&file, |_, _| true).unwrap();
        let place = Path::new("/t");
        let link = |ledger: &mut Ledger, name: &[u8]| {
            let number = ledger.number(Path::new("/s"));
            ledger.note(Note::Link(place, name, number));
            number
        };
        for _ in 0..=TOLERATED {
            let number = link(&mut ours, b"history");
            ours.note(Note::Unlink(place, b"history", number));
        }
        ours.save().unwrap();
        link(&mut theirs, b"theirs");
        theirs.save().unwrap();
        ours.tidy().unwrap();
        let names = |ledger: &Ledger| links(ledger).into_iter().map(|(_, name, _)| name).collect::<Vec<_>>();
        let mut next = Ledger::load(&file, |_, _| true).unwrap();
        assert_eq!(names(&next), ["theirs"]);
        let long = fs::metadata(&file).unwrap().len();
        next.tidy().unwrap();
        assert!(fs::metadata(&file).unwrap().len() < long / 1_000, "once there is a single writer");
        assert_eq!(names(&Ledger::load(&file, |_, _| true).unwrap()), ["theirs"]);
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
            ledger.note(Note::Link(Path::new("/t"), format!("{name:05}").as_bytes(), number));
        }
        let refused = ledger.save().is_err();
        fs::remove_file(folder.path().join("ballast")).unwrap();
        let saved = ledger.save().is_ok();
        let known = links(&Ledger::load(&file, |_, _| true).unwrap()).len();
        run("umount", &[]);
        assert_eq!((refused, saved, known), (true, true, 1_000));
    }
}
