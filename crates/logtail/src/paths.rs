//! Paths of logs and state.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::HintExt;
use kit::lock::Lock;

use log_history::Logs;
pub use log_history::MERGED_LOG;
use log_history::log_directory::LogDirectory;

/// Paths below a root directory, another one in tests.
#[derive(Debug, Clone)]
pub struct Paths(pub PathBuf);

impl Paths {
    /// Returns the directories that are followed.
    pub fn sources(&self) -> Vec<LogDirectory> {
        Logs::new(&self.0).directories().into()
    }

    /// Returns the directory of the merged log.
    pub fn merged_log(&self) -> LogDirectory {
        Logs::new(&self.0).merged_directory()
    }

    /// Acquires the lock of the only follower: two would write every line twice, and overwrite each other's checkpoints.
    ///
    /// Without a lock, as on a read-only file system, a warning is logged.
    pub fn claim(&self) -> Result<Option<Lock>> {
        let parent = self.0.join("var/lib/logtail");
        let opened =
            fs::create_dir_all(&parent).map_err(Into::into).and_then(|()| Lock::open(&parent.join("lock")));
        let lock = match opened {
            Ok(lock) => lock,
            Err(error) => {
                log::warn!("{error:#}; a second follower would not be detected");
                return Ok(None);
            }
        };
        lock.acquire(Duration::ZERO)
            .context("another logtail follow is running")
            .hint(|| "run: logtail".to_owned())?;
        Ok(Some(lock))
    }

    /// Path of the checkpoints.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("var/lib/logtail/positions.json")
    }
}
