//! The file of a ledger, which may lie where users can write, and be written by another container as well.

use std::fs::{File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use kit::atomic::{self, Placement};

const MODE: u32 = 0o644;
/// A link in its place is not followed, and a pipe does not stop us.
const FLAGS: i32 = nix::libc::O_NOFOLLOW | nix::libc::O_NONBLOCK;

/// Where a log is, and how we left it.
#[derive(Debug)]
pub struct LedgerFile {
    path: PathBuf,
    /// Device, inode and length after we read or wrote it.
    left: Option<(u64, u64, u64)>,
}

impl LedgerFile {
    /// Looks at nothing yet.
    pub fn new(path: &Path) -> Self {
        Self { path: path.to_owned(), left: None }
    }

    /// Opens the log, if there is one.
    pub fn read(&mut self) -> Result<Option<File>> {
        let cannot = || format!("cannot read {}", self.path.display());
        let file = match OpenOptions::new().read(true).custom_flags(FLAGS).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file.with_context(cannot)?,
        };
        let meta = self.plain(&file)?;
        self.left = Some(state(&meta));
        Ok(Some(file))
    }

    /// Appends whole records, in one write.
    pub fn append(&mut self, records: &[u8]) -> Result<()> {
        let cannot = || format!("cannot write {}", self.path.display());
        if let Some(folder) = self.path.parent() {
            std::fs::create_dir_all(folder).with_context(cannot)?;
        }
        let mut options = OpenOptions::new();
        options.append(true).create(true).mode(MODE).custom_flags(FLAGS);
        // Opened each time: another container with the same image may have replaced the file on a shared volume.
        let mut log = options.open(&self.path).with_context(cannot)?;
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
        atomic::write_with(&self.path, Placement::volatile(MODE), |file| {
            fill(file)?;
            left = Some(state(&file.metadata()?));
            Ok(())
        })?;
        self.left = left;
        Ok(())
    }

    /// Whether nobody else has written since.
    pub fn is_as_we_left_it(&self) -> bool {
        std::fs::symlink_metadata(&self.path).is_ok_and(|meta| self.left == Some(state(&meta)))
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

    use super::*;

    #[test]
    fn what_another_writes_is_noticed() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("ledger");
        let mut ours = LedgerFile::new(&path);
        assert!(ours.read().unwrap().is_none() && !ours.is_as_we_left_it());
        ours.append(b"one").unwrap();
        ours.append(b"two").unwrap();
        assert!(ours.is_as_we_left_it());
        let mut other = LedgerFile::new(&path);
        other.read().unwrap();
        other.append(b"three").unwrap();
        assert!(!ours.is_as_we_left_it() && other.is_as_we_left_it());
        ours.append(b"four").unwrap();
        assert!(!ours.is_as_we_left_it(), "what the other wrote is still unknown");
        ours.replace(|file| file.write_all(b"five")).unwrap();
        assert!(ours.is_as_we_left_it() && !other.is_as_we_left_it());
        assert_eq!(fs::read(&path).unwrap(), b"five");
    }
}
