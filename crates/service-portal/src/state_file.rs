//! A file with state of the portal, which stays in memory while the file cannot be written.
//!
//! Writing never fails for the caller, so logins work with a full disk. A failure is logged once and shown on the page of
//! services; the file is written as soon as possible.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Result;
use kit::atomic::{self, WriteOptions};

/// The file, and whether it is out of date.
#[derive(Debug)]
pub struct StateFile {
    path: PathBuf,
    placement: WriteOptions,
    problem: Option<String>,
    /// True if a change has not been written.
    changed: bool,
}

impl StateFile {
    /// Creates the state for a file at `path`; nothing is written yet.
    pub fn new(path: &Path, placement: WriteOptions) -> Self {
        Self { path: path.to_owned(), placement, problem: None, changed: false }
    }

    /// Replaces the file; if that fails, the old one is kept.
    pub fn write(&mut self, content: Result<Vec<u8>>) {
        // `init` creates the directory unless the disk is full.
        let _ = self.path.parent().map(fs::create_dir_all);
        let written = content.and_then(|content| atomic::write(&self.path, &content, self.placement));
        self.changed = written.is_err();
        match written {
            Ok(()) if self.problem.take().is_some() => log::info!("wrote {}", self.path.display()),
            Ok(()) => {}
            Err(error) => {
                let text = format!("{error:#}");
                if self.problem.is_none() {
                    log::error!("{text}; unsaved changes are lost when the portal restarts");
                }
                self.problem = Some(text);
            }
        }
    }

    /// Replaces the file; if that fails, removes it, because the old one would restore what was revoked.
    pub fn replace_or_remove(&mut self, content: Result<Vec<u8>>) {
        self.write(content);
        if self.problem.is_some()
            && let Err(error) = kit::remove_file(&self.path)
        {
            log::error!("{error:#}");
        }
    }

    /// Notes a change that may be written later.
    pub fn mark_changed(&mut self) {
        self.changed = true;
    }

    /// True if a change has not been written.
    pub fn needs_write(&self) -> bool {
        self.changed
    }

    /// Returns the reason why the file cannot be written.
    pub fn problem(&self) -> Option<&str> {
        self.problem.as_deref()
    }
}

#[cfg(test)]
pub mod tests {
    use std::process::Command;

    use super::*;

    /// Full file system; needs root.
    pub struct FullDisk(tempfile::TempDir);

    impl FullDisk {
        /// Creates one with these files.
        pub fn with(files: &[(&str, &[u8])]) -> Self {
            let disk = Self(tempfile::tempdir().unwrap());
            let mount = Command::new("mount")
                .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
                .arg(disk.path())
                .status();
            assert!(mount.unwrap().success());
            for (name, content) in files {
                fs::write(disk.path().join(name), content).unwrap();
            }
            // Fills the file system, then fails.
            fs::write(disk.path().join("fill"), vec![0; 128 << 10]).unwrap_err();
            disk
        }

        pub fn path(&self) -> &Path {
            self.0.path()
        }

        pub fn free(&self) {
            fs::remove_file(self.path().join("fill")).unwrap();
        }
    }

    impl Drop for FullDisk {
        fn drop(&mut self) {
            let _ = Command::new("umount").arg("--lazy").arg(self.path()).status();
        }
    }

    #[test]
    fn a_failed_write_keeps_the_old_file_unless_something_was_revoked() {
        let disk = FullDisk::with(&[("state", b"old")]);
        let path = disk.path().join("state");
        let mut file = StateFile::new(&path, WriteOptions::durable(0o600));
        file.write(Ok(b"new".to_vec()));
        assert!(file.problem().unwrap().contains("No space left on device"), "{file:?}");
        assert_eq!(fs::read(&path).unwrap(), b"old");
        file.replace_or_remove(Ok(b"new".to_vec()));
        assert!(!path.exists());
        disk.free();
        file.write(Ok(b"newest".to_vec()));
        assert_eq!((file.problem(), fs::read(&path).unwrap().as_slice()), (None, &b"newest"[..]));
    }
}
