//! Time by the clock of a file system: a volume's server may be minutes off.

use std::fs::Metadata;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use anyhow::{Context, Result};
use nix::sys::stat::FileStat;
use serde::{Deserialize, Serialize};

/// Seconds and nanoseconds since the Unix epoch, by the clock of a file system.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Timestamp(pub i64, pub i64);

/// Margin for coarse clocks: the kernel's changes once a tick, and some volumes store one or two seconds.
const CLOCK_RESOLUTION: i64 = 3;

impl Timestamp {
    /// Returns the change time of an inode, which no program can set back.
    #[must_use]
    pub fn changed(meta: &Metadata) -> Self {
        Self(meta.ctime(), meta.ctime_nsec())
    }

    /// Returns the change time of an entry.
    #[must_use]
    pub fn change_time(stat: &FileStat) -> Self {
        Self(stat.st_ctime, stat.st_ctime_nsec)
    }

    /// Returns the modification time of an entry, which a program may have set.
    #[must_use]
    pub fn modify_time(stat: &FileStat) -> Self {
        Self(stat.st_mtime, stat.st_mtime_nsec)
    }

    /// Returns the current time of the file system of `directory`.
    pub fn now(directory: impl AsFd) -> Result<Self> {
        let (seconds, nanoseconds) =
            tree_copy::file_system_time(directory.as_fd()).context("cannot read the volume's clock")?;
        Ok(Self(seconds, nanoseconds))
    }

    /// Returns a time certainly before this one, even with a coarse clock.
    #[must_use]
    pub fn safely_before(self) -> Self {
        Self(self.0 - CLOCK_RESOLUTION, self.1)
    }

    /// Returns the seconds from this time to `later`; 0 if `later` is earlier.
    #[must_use]
    pub fn seconds_until(self, later: Self) -> u64 {
        u64::try_from(later.0 - self.0).unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_in_order_and_apart_by_seconds() {
        let dir = tempfile::tempdir().unwrap();
        let now = Timestamp::now(std::fs::File::open(dir.path()).unwrap()).unwrap();
        assert!(now.safely_before() < now);
        assert_eq!(
            (Timestamp(5, 0).seconds_until(Timestamp(9, 9)), Timestamp(9, 0).seconds_until(Timestamp(5, 0))),
            (4, 0)
        );
    }
}
