//! What this program has made: its links and directories, remembered across restarts.
//!
//! The file is a log to which whole records are appended before a link is made and after one is removed. A kill at any
//! instant therefore leaves no link without a record, and a record without its link does no harm: whatever is removed
//! later must still be a link with the very text that the record says. What cannot be recorded is not linked. The log is
//! written anew, replaced atomically, when most of it is history.
//!
//! The ledger of the storage lies where users can write. So much of it is read as an image could ship files, and one that
//! is larger, or is no file, is set aside: the links are taken for ours again by their texts.

mod file;
mod log;
mod records;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use anyhow::{Context, Result};

use crate::held::{Builder, Held, Pool, Source};
use file::LedgerFile;
use records::Record;

/// Records of history that are not worth writing the log anew.
const TOLERATED: usize = 20_000;
/// So many bytes and records of a ledger that users can write are read: enough for 100,000 files.
const SHARED: (u64, usize) = (64 << 20, 300_000);
/// No limit.
const OWN: (u64, usize) = (u64::MAX, usize::MAX);

/// Our links and directories.
#[derive(Debug)]
pub struct Ledger {
    file: LedgerFile,
    sources: Vec<Rc<Path>>,
    numbers: HashMap<Rc<Path>, Source>,
    links: BTreeMap<Rc<Path>, Held>,
    /// How many they are.
    count: usize,
    pool: Pool,
    /// Links that an earlier run was about to replace, by directory and name, with the source they led into before.
    doubts: BTreeMap<PathBuf, BTreeMap<Vec<u8>, Source>>,
    directories: BTreeSet<Rc<Path>>,
    records: usize,
    pending: Vec<u8>,
    /// A kill tore the last record of the log apart; it would swallow the next one.
    torn: bool,
    /// Why the log cannot be used, and has to go before the next one is begun.
    spoilt: Option<String>,
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
        Self::of(LedgerFile::new(file))
    }

    fn of(file: LedgerFile) -> Self {
        Self {
            file,
            sources: Vec::new(),
            numbers: HashMap::new(),
            links: BTreeMap::new(),
            count: 0,
            pool: Pool::default(),
            doubts: BTreeMap::new(),
            directories: BTreeSet::new(),
            records: 0,
            pending: Vec::new(),
            torn: false,
            spoilt: None,
        }
    }

    /// Reads the log, and changes nothing, because its writer may be at work; none is an empty one.
    pub fn load(file: &Path) -> Result<Self> {
        let mut ledger = Self::empty(file);
        ledger.read(|_, _| true, OWN)?;
        Ok(ledger)
    }

    /// The same in a directory where users can write. Records that `believe` refuses (directory of the link, source) are
    /// left out; what cannot be used is set aside with the first [`Ledger::save`].
    pub fn load_shared(directory: OwnedFd, file: &Path, believe: impl Fn(&Path, &Path) -> bool) -> Self {
        let mut ledger = Self::of(LedgerFile::within(directory, file));
        match ledger.read(believe, SHARED) {
            Ok(()) => ledger,
            Err(error) => Self { spoilt: Some(format!("{error:#}")), ..Self::of(ledger.file) },
        }
    }

    fn read(&mut self, believe: impl Fn(&Path, &Path) -> bool, (bytes, records): (u64, usize)) -> Result<()> {
        if let Some(log) = self.file.read(bytes)? {
            let replayed = self.replay(BufReader::new(log), believe, records);
            self.torn = !replayed.with_context(|| format!("cannot read {}", self.file.path().display()))?;
        }
        Ok(())
    }

    /// The number of a source directory, for as long as this ledger lives.
    pub fn number(&mut self, source: &Path) -> Source {
        if let Some(number) = self.numbers.get(source) {
            return *number;
        }
        let number = Source::try_from(self.sources.len()).unwrap_or(Source::MAX);
        let source: Rc<Path> = source.into();
        self.sources.push(Rc::clone(&source));
        self.numbers.insert(source, number);
        number
    }

    /// The number of a source directory that has one.
    pub fn known(&self, source: &Path) -> Option<Source> {
        self.numbers.get(source).copied()
    }

    /// The source directory of a number.
    pub fn source(&self, number: Source) -> &Path {
        self.sources.get(number as usize).map_or(Path::new(""), |source| source)
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
    pub fn hold(&mut self, directory: &Rc<Path>, held: Held) {
        self.doubts.remove(&**directory);
        self.count += held.len();
        let former = if held.is_empty() {
            self.links.remove(directory)
        } else {
            self.links.insert(self.known_place(directory).unwrap_or_else(|| Rc::clone(directory)), held)
        };
        self.count -= former.map_or(0, |former| former.len());
    }

    /// The path of a directory in which something is ours, as it is in memory already.
    pub fn known_place(&self, directory: &Path) -> Option<Rc<Path>> {
        let known = self.links.get_key_value(directory).map(|(known, _)| known);
        known.or_else(|| self.directories.get(directory)).cloned()
    }

    /// The same for these names alone.
    pub fn edit(&mut self, directory: &Rc<Path>, edits: &BTreeMap<Vec<u8>, Option<Source>>) {
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
    pub fn places(&self) -> impl Iterator<Item = &Rc<Path>> {
        self.links.keys().chain(self.directories.iter())
    }

    /// How many links are ours.
    pub fn count(&self) -> usize {
        self.count
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
            |number: Source| self.sources.get(number as usize).map_or(Path::new(""), |source| source);
        match note {
            Note::Link(directory, name, to) => {
                Record::Link(&path(directory, name), source(to)).write(&mut self.pending);
            }
            Note::Unlink(directory, name, to) => {
                Record::Unlink(&path(directory, name), source(to)).write(&mut self.pending);
            }
            Note::Directory(path) => {
                let known = self.known_place(path).unwrap_or_else(|| path.into());
                self.directories.insert(known);
                Record::Directory(path).write(&mut self.pending);
            }
            Note::Forget(path) => {
                self.directories.remove(path);
                Record::Forget(path).write(&mut self.pending);
            }
        }
        self.records += 1;
    }

    /// Appends what was noted, in one write. If that fails, the notes are void: no link may be made on their ground, and
    /// records of links that are gone do no harm.
    pub fn save(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if let Some(why) = &self.spoilt {
            let aside = self.file.set_aside()?;
            ::log::warn!("{why}; it is called {} now, and a new one is begun", aside.display());
            self.spoilt = None;
        }
        if pending.is_empty() {
            return Ok(());
        }
        // What another container has written since would be lost.
        if std::mem::take(&mut self.torn) && self.file.is_as_we_left_it() {
            let rewritten = self.rewrite();
            self.torn = rewritten.is_err();
            rewritten?;
        }
        self.file.append(&pending)
    }

    /// Shortens the log if most of it is history.
    pub fn tidy(&mut self) -> Result<()> {
        let history = self.records > 2 * (self.count() + self.directories.len()) + TOLERATED;
        // Where another container with this image writes it as well, its records are not known here.
        if history && self.file.is_as_we_left_it() { self.rewrite() } else { Ok(()) }
    }
}
