//! Where things are.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::lock::Lock;
use kit::{HintExt, ReadPolicy};

use crate::directory::{Directory, Which};
use crate::stream::Position;

/// Logs of boot beside those of supervised programs; `init` makes them.
const BOOT: &[&str] = &["config.log", "sync.log", "preflight.log", "provisioning.log", "debug.log"];
/// Far more than the positions of all logs take, in bytes.
const LARGEST: u64 = 64 << 20;
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

    fn positions(&self) -> PathBuf {
        self.0.join("var/lib/logtail/positions.json")
    }

    /// How far each log was read when the last follower ended, by path; nothing if there was none, or it cannot be read.
    pub fn load(&self) -> Option<BTreeMap<PathBuf, Position>> {
        let read = || -> Result<_> {
            let path = self.positions();
            let Some(text) = ReadPolicy::max_size(LARGEST).read_if_exists(&path)? else { return Ok(None) };
            let positions = serde_json::from_slice(&text);
            positions.map(Some).with_context(|| format!("cannot understand {}", path.display()))
        };
        read().unwrap_or_else(|error| {
            log::warn!("{error:#}; every log is shown from its beginning");
            None
        })
    }

    /// Keeps how far each log is read.
    pub fn save(&self, positions: &BTreeMap<PathBuf, Position>) -> Result<()> {
        let path = self.positions();
        let parent = path.parent().unwrap_or(Path::new("/"));
        fs::create_dir_all(parent).with_context(|| format!("cannot create {}", parent.display()))?;
        let text = serde_json::to_vec(positions).context("cannot write down positions")?;
        atomic::write_if_changed(&path, &text, WriteOptions::volatile(0o600)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_are_kept_and_a_damaged_file_is_as_good_as_none() {
        let dir = tempfile::tempdir().unwrap();
        let place = Place(dir.path().into());
        assert_eq!(place.load(), None);
        let position = serde_json::json!({"reading": null, "known": [], "late": []});
        let kept = BTreeMap::from([(PathBuf::from("/x.log"), serde_json::from_value(position).unwrap())]);
        place.save(&kept).unwrap();
        assert_eq!(place.load(), Some(kept));
        fs::write(place.positions(), "{").unwrap();
        assert_eq!(place.load(), None);
    }
}
