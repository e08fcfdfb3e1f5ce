//! Time of this container's first start: later changes in the image's trees were made by its programs.
//!
//! The journal starts empty with each start, and what was installed before a restart is the user's as well.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use serde::{Deserialize, Serialize};

use crate::open_beneath;
use crate::volume_clock::Timestamp;

/// Beside what the container remembers about its trees.
const NAME: &str = "began";

#[derive(Debug, Serialize, Deserialize)]
struct FirstStart {
    at: Timestamp,
    container: String,
}

/// The moment, if an earlier start of this container wrote it down. It is exact: what a program changes later has this
/// stamp of the same file system's clock or a later one, and the image was there before.
pub fn load(memory: &Path) -> Option<Timestamp> {
    let text = fs::read(memory.join(NAME)).ok()?;
    let began: FirstStart = serde_json::from_slice(&text).ok()?;
    (began.container == container_word()).then_some(began.at)
}

/// Writes down that it is now, by the clock of the file system of `opt`.
pub fn record_now(memory: &Path, opt: &Path) -> Result<()> {
    let began =
        FirstStart { at: Timestamp::now(open_beneath::open_root(opt)?)?, container: container_word() };
    fs::create_dir_all(memory).with_context(|| format!("cannot create {}", memory.display()))?;
    atomic::write(&memory.join(NAME), &serde_json::to_vec(&began)?, WriteOptions::durable(0o644))
}

/// Returns a word that differs in a container made from this one after it was saved as an image.
pub fn container_word() -> String {
    kit::container::id().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_and_means_nothing_in_a_container_made_from_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("sync");
        assert_eq!(load(&memory), None);
        record_now(&memory, dir.path()).unwrap();
        let began = load(&memory).unwrap();
        assert_eq!(load(&memory), Some(began));
        let text = fs::read_to_string(memory.join(NAME)).unwrap();
        fs::write(memory.join(NAME), text.replace("\"container\":\"", "\"container\":\"another")).unwrap();
        assert_eq!(load(&memory), None);
    }
}
