//! Directory of the trees that are measured with, and the state of the machine's caches.
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kit::{HintExt, missing_ok};
use trees::Shape;
use xtask::step;

/// Free space for metadata and other files of a copy, in bytes.
const MARGIN: u64 = 600_000_000;
const DROP_CACHES: &str = "/proc/sys/vm/drop_caches";

/// A directory that is removed when the measurement ends.
#[derive(Debug)]
pub struct Fixture {
    root: PathBuf,
    keep: bool,
}

impl Fixture {
    /// Creates it, empty; fails if fewer than `needed` bytes are free.
    pub fn make(root: &Path, needed: u64, keep: bool) -> Result<Self> {
        remove(root)?;
        fs::create_dir_all(root).with_context(|| format!("cannot create {}", root.display()))?;
        let fixture = Self { root: root.to_owned(), keep };
        let stat = nix::sys::statvfs::statvfs(root)
            .with_context(|| format!("cannot read the free space of {}", root.display()))?;
        let free = stat.blocks_available().saturating_mul(stat.fragment_size());
        let needed = needed.saturating_add(MARGIN);
        if free < needed {
            let (free, needed) = (free / 1_000_000, needed / 1_000_000);
            return Err(anyhow::anyhow!("{free} MB are free in {}, {needed} are needed", root.display()))
                .hint(|| "--percent takes a smaller tree".to_owned());
        }
        Ok(fixture)
    }

    /// A path in it.
    pub fn path(&self, name: &str) -> PathBuf {
        self.root.join(name)
    }

    /// Makes a directory in it.
    pub fn directory(&self, name: &str) -> Result<PathBuf> {
        let path = self.path(name);
        fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Builds a tree in it.
    pub fn tree(&self, name: &str, shape: &Shape, seed: u64) -> Result<PathBuf> {
        let path = self.path(name);
        log::info!("building {} with {} entries", path.display(), shape.entries());
        trees::build(&path, shape, seed)?;
        Ok(path)
    }

    /// Removes an entry in it, if it exists.
    pub fn remove(&self, name: &str) -> Result<()> {
        if self.keep { Ok(()) } else { remove(&self.path(name)) }
    }

    /// Removes an entry in it, even if trees are kept, because it is replaced.
    pub fn clear(&self, name: &str) -> Result<()> {
        remove(&self.path(name))
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        if self.keep {
            log::info!("the trees are left in {}", self.root.display());
        } else if let Err(error) = remove(&self.root) {
            log::warn!("{error:#}");
        }
    }
}

/// Writes everything to disk and, as root, drops the kernel's caches.
pub fn drop_caches() -> Result<()> {
    nix::unistd::sync();
    if !nix::unistd::geteuid().is_root() {
        log::warn!("caches stay warm: only root can drop them");
        return Ok(());
    }
    fs::write(DROP_CACHES, "3").with_context(|| format!("cannot write {DROP_CACHES}"))
}

/// A mounted file system, unmounted when this is dropped.
#[derive(Debug)]
pub struct Mounted(PathBuf);

impl Mounted {
    /// Calls mount(8); needs root.
    pub fn new(options: &[&str], what: &Path, at: &Path) -> Result<Self> {
        kit::cmd::run(Command::new("mount").args(options).arg(what).arg(at))?;
        Ok(Self(at.to_owned()))
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if let Err(error) = step::run("unmount", Command::new("umount").arg(&self.0)) {
            log::warn!("{error:#}");
        }
    }
}

fn remove(path: &Path) -> Result<()> {
    let is_directory = path.symlink_metadata().is_ok_and(|metadata| metadata.is_dir());
    let removed = missing_ok(if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) });
    removed.map(drop).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_gone_afterwards_unless_it_is_kept() {
        let dir = tempfile::tempdir().unwrap();
        for keep in [false, true] {
            let fixture = Fixture::make(&dir.path().join("fixture"), 0, keep).unwrap();
            fixture.directory("inside").unwrap();
            drop(fixture);
            assert_eq!(dir.path().join("fixture/inside").exists(), keep);
        }
    }

    #[test]
    fn too_little_free_space_is_reported_with_the_numbers() {
        let dir = tempfile::tempdir().unwrap();
        let error = Fixture::make(&dir.path().join("fixture"), u64::MAX / 2, false).unwrap_err();
        assert!(error.to_string().ends_with(", 9223372037454 are needed"), "{error}");
    }
}
