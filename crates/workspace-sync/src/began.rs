//! When this container was first started: what has changed in the image's trees since was changed by its programs.
//!
//! The journal begins anew with each start, and what was installed before a restart is the user's as well.

use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::atomic::{self, Placement};
use serde::{Deserialize, Serialize};

use crate::beneath;
use crate::clock::Instant;

/// Beside what the container remembers about its trees.
const NAME: &str = "began";

#[derive(Debug, Serialize, Deserialize)]
struct Began {
    at: Instant,
    layer: String,
}

/// The moment, if an earlier start of this container wrote it down. It is exact: what a program changes later has this
/// stamp of the same file system's clock or a later one, and the image was there before.
pub fn of(memory: &Path) -> Option<Instant> {
    let text = fs::read(memory.join(NAME)).ok()?;
    let began: Began = serde_json::from_slice(&text).ok()?;
    (began.layer == layer()).then_some(began.at)
}

/// Writes down that it is now, by the clock of the file system of `opt`.
pub fn now(memory: &Path, opt: &Path) -> Result<()> {
    let began = Began { at: Instant::now(beneath::open_root(opt)?)?, layer: layer() };
    fs::create_dir_all(memory).with_context(|| format!("cannot create {}", memory.display()))?;
    atomic::write(&memory.join(NAME), &serde_json::to_vec(&began)?, Placement::durable(0o644))
}

/// Where the container's own changes lie, which tells it from one that was made from it after it was saved as an image.
pub fn layer() -> String {
    let mounts = fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    upper(&mounts).unwrap_or_default().to_owned()
}

/// The upper directory of the root, if that is an overlay; the last one mounted there counts (proc(5)).
fn upper(mounts: &str) -> Option<&str> {
    let root = mounts.lines().rfind(|line| line.split(' ').nth(4) == Some("/"))?;
    root.rsplit(' ').next()?.split(',').find_map(|option| option.strip_prefix("upperdir="))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_remembered_and_means_nothing_in_a_container_made_from_this_one() {
        let dir = tempfile::tempdir().unwrap();
        let memory = dir.path().join("sync");
        assert_eq!(of(&memory), None);
        now(&memory, dir.path()).unwrap();
        let began = of(&memory).unwrap();
        assert_eq!(of(&memory), Some(began));
        let text = fs::read_to_string(memory.join(NAME)).unwrap();
        fs::write(memory.join(NAME), text.replace("\"layer\":\"", "\"layer\":\"another")).unwrap();
        assert_eq!(of(&memory), None);
    }

    #[test]
    fn the_layer_is_that_of_the_root() {
        let mounts = "22 1 0:5 / /proc rw - proc proc rw\n\
                      23 1 0:9 / / rw,relatime - overlay overlay rw,lowerdir=/l,upperdir=/layers/7/diff,workdir=/w\n\
                      24 23 0:9 / /mnt rw - overlay overlay rw,lowerdir=/l,upperdir=/layers/8/diff,workdir=/w\n";
        assert_eq!(upper(mounts), Some("/layers/7/diff"));
        assert_eq!(upper("23 1 8:1 / / rw - ext4 /dev/sda1 rw\n"), None);
    }
}
