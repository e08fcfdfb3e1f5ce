//! Where things are.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::HintExt;
use kit::lock::Lock;

use crate::log_directory::{LogDirectory, Selection};

/// Logs of boot beside those of supervised programs; `init` makes them.
const BOOT: &[&str] = &["config.log", "sync.log", "preflight.log", "provisioning.log", "debug.log"];
/// The name of the record.
pub const MERGED_LOG: &str = "logtail.log";

/// The root directory; another one in tests.
#[derive(Debug, Clone)]
pub struct Paths(pub PathBuf);

impl Paths {
    /// What is followed.
    pub fn sources(&self) -> Vec<LogDirectory> {
        vec![
            LogDirectory::new(self.0.join("var/log"), Selection::These(BOOT)),
            LogDirectory::new(self.0.join("var/log/supervisor"), Selection::Every),
        ]
    }

    /// Where the record is.
    pub fn merged_log(&self) -> LogDirectory {
        LogDirectory::new(self.0.join("var/log"), Selection::These(&[MERGED_LOG]))
    }

    /// Holds the paths of the only follower: two would write every line twice, and over each other's positions.
    ///
    /// Where nothing can be locked, such as on a file system that is read only, there is nothing to hold.
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
            .hint(|| "logtail without follow shows them".to_owned())?;
        Ok(Some(lock))
    }

    /// Where it is kept how far each log was read.
    pub fn checkpoints(&self) -> PathBuf {
        self.0.join("var/lib/logtail/positions.json")
    }
}
