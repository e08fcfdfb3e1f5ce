//! Time of this container's first start: later changes in the image's trees were made by its programs.
//!
//! The journal starts empty with each start, and what was installed before a restart is the user's as well.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::ensure_beneath::open_root;
use crate::volume_clock::Timestamp;

/// File name in the state directory.
const NAME: &str = "began";

#[derive(Debug, Serialize, Deserialize)]
struct FirstStart {
    at: Timestamp,
    container: String,
}

/// Returns the time that an earlier start of this container recorded. It is exact: later changes have this timestamp of
/// the same file system or a later one, and the image is older.
pub fn load(state_dir: &Path) -> Option<Timestamp> {
    let text = fs::read(state_dir.join(NAME)).ok()?;
    let first_start: FirstStart = serde_json::from_slice(&text).ok()?;
    (first_start.container == engine_id()).then_some(first_start.at)
}

/// Records the current time of the file system of `opt`.
pub fn record_now(state_dir: &Path, opt: &Path) -> Result<()> {
    let first_start = FirstStart { at: Timestamp::now(open_root(opt)?)?, container: engine_id() };
    fs::create_dir_all(state_dir).with_context(|| format!("cannot create {}", state_dir.display()))?;
    atomic::write(&state_dir.join(NAME), &serde_json::to_vec(&first_start)?, WriteOptions::durable(0o644))
}

/// Returns the engine's identity of this container, see [`kit::container_id::id`]; empty if unknown. A container made from
/// a saved image has another one.
pub fn engine_id() -> String {
    kit::container_id::id().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_and_means_nothing_in_a_container_made_from_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let state_dir = dir.path().join("sync");
        assert_eq!(load(&state_dir), None);
        record_now(&state_dir, dir.path()).unwrap();
        let first_start = load(&state_dir).unwrap();
        assert_eq!(load(&state_dir), Some(first_start));
        let text = fs::read_to_string(state_dir.join(NAME)).unwrap();
        fs::write(state_dir.join(NAME), text.replace("\"container\":\"", "\"container\":\"another")).unwrap();
        assert_eq!(load(&state_dir), None);
    }
}
