//! Links and directories that this program has made, remembered across restarts.
//!
//! The file is a log to which complete records are appended before a link is made and after one is removed. A kill at any
//! moment therefore leaves no link without a record. A record without its link does no harm: a link is removed only if it
//! has exactly the text in its record. A link that cannot be recorded is not made. Records are written before a step,
//! memory changes after it succeeded.
//!
//! The container's own log is replaced atomically by a shorter one when most of its records are obsolete. The log in the
//! storage is not: users can write there, and other containers of the same image append to it. A log that is too large, is
//! not a regular file or has several hard links is set aside; its links are then recognised by their texts.

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

/// Number of obsolete records for which the log is not rewritten.
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
    sources: Vec<Arc<OsStr>>,
    /// By exact spelling: comparing and hashing paths component by component took a tenth of a scan.
    ids: HashMap<Arc<OsStr>, SourceId>,
    links: BTreeMap<Arc<Path>, LinkSet>,
    /// Number of links.
    count: usize,
    directories: BTreeSet<Arc<Path>>,
    /// Number of records in the log.
    records: usize,
    pending: Vec<u8>,
    /// Length of the complete records and of the file, if a kill cut the last record off; appending to it would lose a
    /// record.
    torn: Option<(u64, u64)>,
    /// Reason to set the log aside before a new one is begun.
    unusable: Option<String>,
}

impl Ledger {
    /// An empty ledger with a log in this file.
    pub fn empty(file: &Path) -> Self {
        Self { file: LedgerFile::new(file), ..Self::default() }
    }

    /// Reads the log, if it exists, without changing it: another process may be writing.
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

    fn read(
        &mut self,
        is_trusted: impl Fn(&Path, &Path) -> bool,
        (bytes, records): (u64, usize),
    ) -> Result<()> {
        if let Some((log, length)) = self.file.read(bytes)? {
            let whole = self.replay(BufReader::new(log), is_trusted, records);
            let whole = whole.with_context(|| format!("cannot read {}", self.file.path().display()))?;
            self.torn = (whole < length).then_some((whole, length));
        }
        Ok(())
    }

    /// Returns the id of a source directory; a new one gets the next.
    pub fn source_id(&mut self, source: &Path) -> SourceId {
        if let Some(id) = self.find_source(source.as_os_str()) {
            return id;
        }
        let id = SourceId::try_from(self.sources.len()).unwrap_or(SourceId::MAX);
        let source: Arc<OsStr> = source.as_os_str().into();
        self.sources.push(Arc::clone(&source));
        self.ids.insert(source, id);
        id
    }

    /// Returns the id of a source directory that has one.
    pub fn find_source(&self, source: &OsStr) -> Option<SourceId> {
        self.ids.get(source).copied()
    }

    /// Path of a source directory.
    pub fn source(&self, id: SourceId) -> &Path {
        self.sources.get(id as usize).map_or(Path::new(""), Path::new)
    }

    /// Our links in a directory.
    pub fn links(&self, target: &Path) -> &LinkSet {
        self.links.get(target).unwrap_or(&NO_LINKS)
    }

    /// Directories that have a link of ours or were created by us.
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

    /// True if we created the directory.
    pub fn created_directory(&self, path: &Path) -> bool {
        self.directories.contains(path)
    }

    /// Adds a link, in memory.
    pub fn insert(&mut self, target: &Arc<Path>, name: Box<[u8]>, source: SourceId) {
        let links = match self.links.get_mut(target) {
            Some(links) => links,
            None => self.links.entry(Arc::clone(target)).or_default(),
        };
        self.count += usize::from(links.insert(name, source).is_none());
    }

    /// Removes a link, in memory.
    pub fn remove(&mut self, target: &Path, name: &[u8]) {
        let Some(links) = self.links.get_mut(target) else { return };
        self.count -= usize::from(links.remove(name).is_some());
        if links.is_empty() {
            self.links.remove(target);
        }
    }

    /// Adds a directory that we created, in memory.
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
        self.record(Record::Link(&target.join(OsStr::from_bytes(name)), Path::new(&source)));
    }

    /// Adds a record of a link that is not ours any more.
    pub fn record_unlink(&mut self, target: &Path, name: &[u8], source: SourceId) {
        let source = Arc::clone(&self.sources[source as usize]);
        self.record(Record::Unlink(&target.join(OsStr::from_bytes(name)), Path::new(&source)));
    }

    /// Adds a record of a directory that we make.
    pub fn record_directory(&mut self, path: &Path) {
        self.record(Record::Directory(path));
    }

    fn record(&mut self, record: Record<'_>) {
        record.write(&mut self.pending);
        self.records += 1;
    }

    /// Appends the records, in one write. If that fails, they are dropped and their links must not be made.
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
        self.file.append(&pending, self.torn).inspect_err(|error| {
            if self.file.is_shared() && self.file.is_unusable() {
                self.unusable = Some(format!("{error:#}"));
            }
        })?;
        self.torn = None;
        Ok(())
    }

    /// Rewrites the log if most of its records are obsolete; a shared one only if it also exceeds the limit for reading, and
    /// the old file is kept under another name.
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
