//! Moments by the clock of a file system: a volume's server may be minutes off.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::fcntl::{AtFlags, OFlag, openat};
use nix::sys::stat::{Mode, fstatat};
use nix::unistd::{UnlinkatFlags, unlinkat};
use serde::{Deserialize, Serialize};

use crate::walk;

/// Seconds and nanoseconds since the Unix epoch, as a file system stamped them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Instant(pub i64, pub i64);

/// The kernel stamps with a clock that may stand still for a tick, and some volumes only with whole seconds, or two.
const BLUR: i64 = 3;

/// How names of files begin that are made to read a clock; an instance and a process number follow.
const PREFIX: &str = ".clock-";

/// Such a file is there for a moment. Longer than a volume may hang.
const FORGOTTEN_AFTER_SECONDS: u64 = 10 * 60;

/// Removes what processes that were killed in [`Instant::now`] left in a directory.
pub fn sweep(directory: impl AsFd) -> Result<()> {
    let mut names = walk::names(directory.as_fd())?;
    names.retain(|name| is_ours(name));
    if names.is_empty() {
        return Ok(());
    }
    let now = Instant::now(directory.as_fd())?;
    for name in names {
        let Ok(stat) = fstatat(directory.as_fd(), name.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) else {
            continue;
        };
        let age = Instant(stat.st_ctime, stat.st_ctime_nsec).seconds_until(now);
        if stat.st_size == 0 && age >= FORGOTTEN_AFTER_SECONDS {
            unlinkat(directory.as_fd(), name.as_os_str(), UnlinkatFlags::NoRemoveDir)?;
        }
    }
    Ok(())
}

fn is_ours(name: &OsStr) -> bool {
    let parts = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split_once('-'));
    parts.is_some_and(|(instance, process)| {
        instance.len() == kit::instance::id().len()
            && instance.bytes().all(|digit| digit.is_ascii_hexdigit())
            && process.parse::<u32>().is_ok()
    })
}

impl Instant {
    /// When the inode last changed, in content or otherwise: no program can set this one back.
    #[must_use]
    pub fn changed(meta: &Metadata) -> Self {
        Self(meta.ctime(), meta.ctime_nsec())
    }

    /// Now, by the clock of the file system that `directory` is on.
    pub fn now(directory: impl AsFd) -> Result<Self> {
        // Containers that share a volume have the same process numbers.
        let name = format!("{PREFIX}{}-{}", kit::instance::id(), std::process::id());
        let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        // Left by a killed process that had our number.
        let _ = unlinkat(directory.as_fd(), name.as_str(), UnlinkatFlags::NoRemoveDir);
        let file = openat(directory.as_fd(), name.as_str(), flags, Mode::from_bits_truncate(0o600))
            .context("cannot make a file to read the volume's clock")?;
        let now = File::from(file).metadata().map(|meta| Self::changed(&meta));
        let _ = unlinkat(directory.as_fd(), name.as_str(), UnlinkatFlags::NoRemoveDir);
        now.context("cannot read the volume's clock")
    }

    /// A moment that is surely before this one, however coarse the clock is.
    #[must_use]
    pub fn safely_before(self) -> Self {
        Self(self.0 - BLUR, self.1)
    }

    /// How many whole seconds `later` is after this moment; 0 if it is before.
    #[must_use]
    pub fn seconds_until(self, later: Self) -> u64 {
        u64::try_from(later.0 - self.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clock_is_the_file_systems_and_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        let directory = File::open(dir.path()).unwrap();
        std::fs::write(dir.path().join("before"), "").unwrap();
        let before = Instant::changed(&dir.path().join("before").metadata().unwrap());
        let now = Instant::now(&directory).unwrap();
        assert!(before <= now && now.safely_before() < before);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);
        assert_eq!(
            (Instant(5, 0).seconds_until(Instant(9, 9)), Instant(9, 0).seconds_until(Instant(5, 0))),
            (4, 0)
        );
    }
}
