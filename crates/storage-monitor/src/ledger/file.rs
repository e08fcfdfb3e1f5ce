//! The file of a ledger, which may lie where users can write, and be written by another container as well.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Take, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kit::atomic::{self, WriteOptions};

const MODE: u32 = 0o644;
/// A link in its place is not followed, and a pipe does not stop us.
const FLAGS: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// Where a log is, and how we left it.
#[derive(Debug)]
pub struct LedgerFile {
    /// As messages name it.
    path: PathBuf,
    /// As the kernel is asked for it.
    at: PathBuf,
    /// The directory that it is in, where users could make its path lead elsewhere.
    _directory: Option<OwnedFd>,
    /// Device, inode and length after we read or wrote it.
    left: Option<(u64, u64, u64)>,
}

impl LedgerFile {
    /// Looks at nothing yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), at: path.to_owned(), _directory: None, left: None }
    }

    /// In this directory, whatever becomes of its path.
    pub fn within(directory: OwnedFd, path: &Path) -> Self {
        let held = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string());
        let at = held.join(path.file_name().unwrap_or_default());
        Self { at, _directory: Some(directory), ..Self::new(path) }
    }

    /// As messages name it.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Opens the log, if there is one; fails if it is larger than so many bytes.
    pub fn read(&mut self, largest: u64) -> Result<Option<Take<File>>> {
        let cannot = || format!("cannot read {}", self.path.display());
        let file = match OpenOptions::new().read(true).custom_flags(FLAGS).open(&self.at) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.with_context(cannot)?,
        };
        let meta = self.plain(&file)?;
        if meta.len() > largest {
            bail!("{} is larger than {} MB", self.path.display(), largest >> 20);
        }
        self.left = Some(state(&meta));
        Ok(Some(file.take(largest)))
    }

    /// Gives whatever is in the log's place another name, so that a log can be begun anew; says the name.
    pub fn set_aside(&mut self) -> Result<PathBuf> {
        let beside = |path: &Path| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".aside");
            path.with_file_name(name)
        };
        match std::fs::rename(&self.at, beside(&self.at)) {
            // It is gone already: so have others with the same ledger.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            done => done.with_context(|| format!("cannot rename {}", self.path.display()))?,
        }
        self.left = None;
        Ok(beside(&self.path))
    }

    /// Appends whole records, in one write.
    pub fn append(&mut self, records: &[u8]) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        if let Some(folder) = self.at.parent() {
            std::fs::create_dir_all(folder).with_context(cannot)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(FLAGS);
        // Opened each time: another container with the same image may have replaced the file on a shared volume.
        let mut log = options.open(&self.at).with_context(cannot)?;
        let meta = self.plain(&log)?;
        if let Err(error) = log.write_all(records) {
            // On a full disk a part may have been written, which would swallow the next record.
            let _ = log.set_len(meta.len());
            return Err(error).with_context(cannot);
        }
        // Once somebody else has written, it is not ours alone any more.
        if self.left.is_none_or(|left| left == state(&meta)) {
            let (device, inode, length) = state(&meta);
            self.left = Some((device, inode, length + records.len() as u64));
        }
        Ok(())
    }

    /// Replaces the log by what `fill` writes.
    pub fn replace(&mut self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        let mut left = None;
        let written = atomic::write_with(&self.at, WriteOptions::volatile(MODE), |file| {
            fill(file)?;
            left = Some(state(&file.metadata()?));
            Ok(())
        });
        written.map_err(|error| anyhow!("cannot write {}: {}", self.path.display(), error.root_cause()))?;
        self.left = left;
        Ok(())
    }

    /// Whether nobody else has written since.
    pub fn is_as_we_left_it(&self) -> bool {
        std::fs::symlink_metadata(&self.at).is_ok_and(|meta| self.left == Some(state(&meta)))
    }

    fn plain(&self, file: &File) -> Result<Metadata> {
        let meta = file.metadata().with_context(|| format!("cannot look at {}", self.path.display()))?;
        if !meta.is_file() {
            bail!("{} is not a file", self.path.display());
        }
        Ok(meta)
    }
}

fn state(meta: &Metadata) -> (u64, u64, u64) {
    (meta.dev(), meta.ino(), meta.len())
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn a_log_stays_in_its_directory_whatever_its_path_leads_to() {
        let folder = tempfile::tempdir().unwrap();
        let [ours, roots, way] = ["ours", "roots", "way"].map(|name| folder.path().join(name));
        fs::create_dir(&ours).unwrap();
        fs::create_dir(&roots).unwrap();
        symlink(&ours, &way).unwrap();
        let mut log = LedgerFile::within(File::open(&way).unwrap().into(), &way.join("ledger"));
        fs::remove_file(&way).unwrap();
        symlink(&roots, &way).unwrap();
        log.append(b"one").unwrap();
        assert_eq!(fs::read(ours.join("ledger")).unwrap(), b"one");
        log.replace(|file| file.write_all(b"two")).unwrap();
        assert_eq!(fs::read(ours.join("ledger")).unwrap(), b"two");
        assert_eq!(log.set_aside().unwrap(), way.join("ledger.aside"));
        assert_eq!(fs::read(ours.join("ledger.aside")).unwrap(), b"two");
        assert_eq!(fs::read_dir(&roots).unwrap().count(), 0);
        fs::remove_dir_all(&ours).unwrap();
        let gone = log.replace(|_| Ok(())).unwrap_err().to_string();
        assert_eq!(
            gone,
            format!("cannot write {}: No such file or directory (os error 2)", way.join("ledger").display())
        );
    }

    #[test]
    fn what_another_writes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut ours = LedgerFile::new(&path);
        assert!(ours.read(1).unwrap().is_none() && !ours.is_as_we_left_it());
        ours.append(b"one").unwrap();
        ours.append(b"two").unwrap();
        assert!(ours.is_as_we_left_it());
        let mut other = LedgerFile::new(&path);
        other.read(100).unwrap();
        other.append(b"three").unwrap();
        assert!(!ours.is_as_we_left_it() && other.is_as_we_left_it());
        ours.append(b"four").unwrap();
        assert!(!ours.is_as_we_left_it(), "what the other wrote is still unknown");
        ours.replace(|file| file.write_all(b"five")).unwrap();
        assert!(ours.is_as_we_left_it() && !other.is_as_we_left_it());
        assert_eq!(fs::read(&path).unwrap(), b"five");
    }
}
