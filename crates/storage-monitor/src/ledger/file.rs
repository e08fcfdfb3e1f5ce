//! The file of a ledger, which may lie where users can write and other containers append to it as well.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Read, Take, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kit::atomic::{self, WriteOptions};
use kit::missing_ok;

const MODE: u32 = 0o644;
/// A symbolic link at the path is not followed, and opening a FIFO does not block.
const FLAGS: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// Path of a log.
#[derive(Debug, Default)]
pub struct LedgerFile {
    /// Path in messages.
    path: PathBuf,
    /// Path that is opened.
    at: PathBuf,
    /// Directory of a shared log, whose path users could redirect.
    directory: Option<OwnedFd>,
}

impl LedgerFile {
    /// A log that only we write.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), at: path.to_owned(), directory: None }
    }

    /// A log in this open directory, even if its path is changed.
    pub fn shared(directory: OwnedFd, path: &Path) -> Self {
        let at = dirfd::fd_path(&directory).join(path.file_name().unwrap_or_default());
        Self { at, directory: Some(directory), ..Self::new(path) }
    }

    /// Path for messages.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// True if other containers write the log as well.
    pub fn is_shared(&self) -> bool {
        self.directory.is_some()
    }

    /// Opens the log, if it exists, and returns its length with it; fails if it has more than `limit` bytes.
    pub fn read(&self, limit: u64) -> Result<Option<(Take<File>, u64)>> {
        let opened = missing_ok(OpenOptions::new().read(true).custom_flags(FLAGS).open(&self.at));
        let Some(file) = opened.with_context(|| format!("cannot read {}", self.path.display()))? else {
            return Ok(None);
        };
        let length = self.regular(&file)?.len();
        if length > limit {
            bail!("{} is larger than {} MB", self.path.display(), limit >> 20);
        }
        Ok(Some((file.take(length), length)))
    }

    /// True if the log's path leads to something that must not be written.
    pub fn is_unusable(&self) -> bool {
        let meta = std::fs::symlink_metadata(&self.at);
        meta.is_ok_and(|meta| !meta.is_file() || self.is_shared() && meta.nlink() > 1)
    }

    /// Renames the file at the log's path, so that a new log can be started; returns the new path.
    pub fn set_aside(&self) -> Result<PathBuf> {
        let beside = |path: &Path| {
            let mut name = path.file_name().unwrap_or_default().to_owned();
            name.push(".aside");
            path.with_file_name(name)
        };
        // If it is missing, another monitor with the same ledger was faster.
        let renamed = missing_ok(std::fs::rename(&self.at, beside(&self.at)));
        renamed.with_context(|| format!("cannot rename {}", self.path.display()))?;
        Ok(beside(&self.path))
    }

    /// Appends complete records, in one write. `torn` is the length of the complete records and of the file as it was read: if
    /// the file still has that length, the incomplete record at its end is cut off first.
    pub fn append(&self, records: &[u8], torn: Option<(u64, u64)>) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(FLAGS);
        // Opened each time: another container may have set the file aside.
        let mut log = options.open(&self.at).with_context(cannot)?;
        let length = self.regular(&log)?.len();
        let whole = torn.filter(|(_, read)| *read == length).map_or(length, |(whole, _)| whole);
        if whole < length {
            log.set_len(whole).with_context(cannot)?;
        }
        if let Err(error) = log.write_all(records) {
            // A full disk may have stored a part, in which the next record would be lost.
            let _ = log.set_len(whole);
            return Err(error).with_context(cannot);
        }
        Ok(())
    }

    /// Replaces the log's content by the output of `fill`.
    pub fn replace(&self, fill: impl FnOnce(&mut File) -> io::Result<()>) -> Result<()> {
        let written = atomic::write_with(&self.at, WriteOptions::volatile(MODE), fill);
        written.map_err(|error| anyhow!("cannot write {}: {}", self.path.display(), error.root_cause()))
    }

    fn regular(&self, file: &File) -> Result<Metadata> {
        let meta = file.metadata().with_context(|| format!("cannot read {}", self.path.display()))?;
        if !meta.is_file() {
            bail!("{} is not a file", self.path.display());
        }
        // In the storage, a user may have linked another user's file to the log's path.
        if self.is_shared() && meta.nlink() > 1 {
            bail!("{} has more than one hard link", self.path.display());
        }
        Ok(meta)
    }
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
        let log = LedgerFile::shared(File::open(&way).unwrap().into(), &way.join("ledger"));
        fs::remove_file(&way).unwrap();
        symlink(&roots, &way).unwrap();
        log.append(b"one", None).unwrap();
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
}
