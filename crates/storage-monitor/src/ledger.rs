//! Links and directories that this program has made, remembered across restarts.
//!
//! The file is a log to which whole records are appended before a link is made and after one is removed. A kill at any
//! instant therefore leaves no link without a record, and a record without its link does no harm: whatever is removed
//! later must still be a link with the very text that the record names. What cannot be recorded is not linked. So records
//! and memory change apart: records first, memory once a step has succeeded.
//!
//! The container's own log is replaced atomically by a shorter one when most of it is history. The log of the storage lies
//! where users can write, and other containers of the same image append to it: it is never shortened. At most as much of
//! it is read as an image could ship files; one that is larger, or is no file, is set aside, and the links are recognised
//! by their texts.

mod file;
mod log_replay;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::ffi::OsStr;
use std::io::BufReader;
use std::os::fd::OwnedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::sync::Arc;

use anyhow::{Context, Result};

use file::LedgerFile;
use log_replay::Record;

/// Number of a source directory, as long as the ledger is in memory.
pub type SourceId = u32;

/// Our links in one directory: each name, and the source directory that it leads into. The file there has the same name.
pub type LinkSet = BTreeMap<Box<[u8]>, SourceId>;

/// Records of history that are not worth a new log.
const TOLERATED: usize = 20_000;
/// Limits of a log that users can write, in bytes and records: enough for 100,000 files.
const SHARED: (u64, usize) = (64 << 20, 300_000);
/// No limits.
const OWN: (u64, usize) = (u64::MAX, usize::MAX);

static NO_LINKS: LinkSet = LinkSet::new();

/// Our links and directories.
#[derive(Debug, Default)]
pub struct Ledger {
    file: LedgerFile,
    sources: Vec<Arc<Path>>,
    ids: HashMap<Arc<Path>, SourceId>,
    links: BTreeMap<Arc<Path>, LinkSet>,
    /// Number of links.
    count: usize,
    directories: BTreeSet<Arc<Path>>,
    /// Number of records in the log.
    records: usize,
    pending: Vec<u8>,
    /// A kill tore the last record apart, and it would swallow the next one: length of the whole records, and of the file.
    torn: Option<(u64, u64)>,
    /// Reason to set the log aside before a new one is begun.
    unusable: Option<String>,
}

impl Ledger {
    /// An empty ledger with a log in this file.
    pub fn empty(file: &Path) -> Self {
        Self { file: LedgerFile::new(file), ..Self::default() }
    }

    /// Reads the log, if there is one, and changes nothing: its writer may be at work.
    pub fn load(file: &Path) -> Result<Self> {
        let mut ledger = Self::empty(file);
        ledger.read(|_, _| true, OWN)?;
        Ok(ledger)
    }

    /// Reads a log in a directory where users can write. Records that `is_trusted` refuses (directory of the link, source)
    /// are left out; a log that cannot be used is set aside by the first [`Ledger::save`].
    pub fn load_shared(directory: OwnedFd, file: &Path, is_trusted: impl Fn(&Path, &Path) -> bool) -> Self {
        let mut ledger = Self { file: LedgerFile::shared(directory, file), ..Self::default() };
        match ledger.read(is_trusted, SHARED) {
            Ok(()) => ledger,
            Err(error) => Self { file: ledger.file, unusable: Some(format!("{error:#}")), ..Self::default() },
        }
    }

    fn read(&mut self, is_trusted: impl Fn(&Path, &Path) -> bool, (bytes, records): (u64, usize)) -> Result<()> {
        if let Some((log, length)) = self.file.read(bytes)? {
            let whole = self.replay(BufReader::new(log), is_trusted, records);
            let whole = whole.with_context(|| format!("cannot read {}", self.file.path().display()))?;
            self.torn = (whole < length).then_some((whole, length));
        }
        Ok(())
    }

    /// Returns the id of a source directory; a new one gets the next.
    pub fn source_id(&mut self, source: &Path) -> SourceId {
        if let Some(id) = self.ids.get(source) {
            return *id;
        }
        let id = SourceId::try_from(self.sources.len()).unwrap_or(SourceId::MAX);
        let source: Arc<Path> = source.into();
        self.sources.push(Arc::clone(&source));
        self.ids.insert(source, id);
        id
    }

    /// Returns the id of a source directory that has one.
    pub fn find_source(&self, source: &Path) -> Option<SourceId> {
        self.ids.get(source).copied()
    }

    /// Path of a source directory.
    pub fn source(&self, id: SourceId) -> &Path {
        self.sources.get(id as usize).map_or(Path::new(""), |source| source)
    }

    /// Our links in a directory.
    pub fn links(&self, target: &Path) -> &LinkSet {
        self.links.get(target).unwrap_or(&NO_LINKS)
    }

    /// All directories that have a link of ours or were made by us.
    pub fn targets(&self) -> impl Iterator<Item = &Arc<Path>> {
        self.links.keys().chain(&self.directories)
    }

    /// Number of our links.
    pub fn count(&self) -> usize {
        self.count
    }

    /// True if the path is a link of ours.
    pub fn is_ours(&self, path: &Path) -> bool {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return false };
        self.links(directory).contains_key(name.as_bytes())
    }

    /// True if the directory was made by us.
    pub fn created_directory(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    /// A link is ours from now on, in memory.
    pub fn insert(&mut self, target: &Arc<Path>, name: Box<[u8]>, source: SourceId) {
        let links = match self.links.get_mut(target) {
            Some(links) => links,
            None => self.links.entry(Arc::clone(target)).or_default(),
        };
        self.count += usize::from(links.insert(name, source).is_none());
    }

    /// A link is not ours any more, in memory.
    pub fn remove(&mut self, target: &Path, name: &[u8]) {
        let Some(links) = self.links.get_mut(target) else { return };
        self.count -= usize::from(links.remove(name).is_some());
        if links.is_empty() {
            self.links.remove(target);
        }
    }

    /// A directory was made by us, in memory.
    pub fn insert_directory(&mut self, path: &Path) {
        self.directories.insert(path.into());
    }

    /// Forgets a directory that is not there, or no longer ours, in memory and log.
    pub fn forget_directory(&mut self, path: &Path) {
        self.directories.remove(path);
        self.record(Record::Forget(path));
    }

    /// Forgets all that was ours in a directory that is not there any more, in memory and log.
    pub fn forget_target(&mut self, target: &Path) {
        let links = self.links.remove(target).unwrap_or_default();
        self.count -= links.len();
        for (name, source) in &links {
            self.record_unlink(target, name, *source);
        }
        if self.created_directory(target) {
            self.forget_directory(target);
        }
    }

    /// Adds a record of a link to those that [`Ledger::save`] writes.
    pub fn record_link(&mut self, target: &Path, name: &[u8], source: SourceId) {
        let source = Arc::clone(&self.sources[source as usize]);
        self.record(Record::Link(&target.join(OsStr::from_bytes(name)), &source));
    }

    /// Adds a record of a link that is not ours any more.
    pub fn record_unlink(&mut self, target: &Path, name: &[u8], source: SourceId) {
        let source = Arc::clone(&self.sources[source as usize]);
        self.record(Record::Unlink(&target.join(OsStr::from_bytes(name)), &source));
    }

    /// Adds a record of a directory that we make.
    pub fn record_directory(&mut self, path: &Path) {
        self.record(Record::Directory(path));
    }

    fn record(&mut self, record: Record<'_>) {
        record.write(&mut self.pending);
        self.records += 1;
    }

    /// Appends the records, in one write. If that fails, they are void: no link may be made because of them, and those of
    /// links that are gone do no harm.
    pub fn save(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        if let Some(why) = &self.unusable {
            let aside = self.file.set_aside()?;
            log::warn!("{why}; renamed it to {} and started a new one", aside.display());
            self.unusable = None;
        }
        if pending.is_empty() {
            return Ok(());
        }
        self.file.append(&pending, self.torn)?;
        self.torn = None;
        Ok(())
    }

    /// Shortens our own log if most of it is history. A shared one is set aside when nobody would read it any more.
    pub fn compact_if_large(&mut self) -> Result<()> {
        let history = self.records > 2 * (self.count() + self.directories.len()) + TOLERATED;
        if !history || self.file.is_shared() && self.records <= SHARED.1 {
            return Ok(());
        }
        if self.file.is_shared() {
            self.file.set_aside()?;
        }
        self.compact()
    }
}
