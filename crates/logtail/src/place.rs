//! Where things are.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::HintExt;
use kit::lock::Lock;

use crate::directory::{Directory, Which};

/// Logs of boot beside those of supervised programs; `init` makes them.
const BOOT: &[&str] = &["config.log", "sync.log", "preflight.log", "provisioning.log", "debug.log"];
/// The name of the record.
pub const RECORD: &str = "logtail.log";

/// The root directory; another one in tests.
#[derive(Debug, Clone)]
pub struct Place(pub PathBuf);

impl Place {
    /// What is followed.
    pub fn sources(&self) -> Vec<Directory> {
        vec![
            Directory::new(self.0.join("var/log"), Which::These(BOOT)),
            Directory::new(self.0.join("var/log/supervisor"), Which::Every),
        ]
    }

    /// Where the record is.
    pub fn record(&self) -> Directory {
        Directory::new(self.0.join("var/log"), Which::These(&[RECORD]))
    }

    /// Holds the place of the only follower: two would write every line twice, and over each other's positions.
    ///
    /// Where nothing can be locked, such as on a file system that is read only, there is nothing to hold.
    pub fn claim(&self) -> Result<Option<Lock>> {
        let parent = self.0.join("var/lib/logtail");
        let opened =
            fs::create_dir_all(&parent).map_err(Into::into).and_then(|()| Lock::open(&parent.join("lock")));
        let lock = match opened {
            Ok(lock) => lock,
            Err(error) => {
                log::warn!("{error:#}; another follower would not be noticed");
                return Ok(None);
            }
        };
        lock.acquire(Duration::ZERO)
            .context("the logs are followed already")
            .hint(|| "logtail without follow shows them".to_owned())?;
        Ok(Some(lock))
    }

    /// Where it is kept how far each log was read.
    pub fn positions(&self) -> PathBuf {
        self.0.join("var/lib/logtail/positions.json")
    }
}
