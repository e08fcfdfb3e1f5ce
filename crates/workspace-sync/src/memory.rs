//! What this container remembers about a tree: `/var/lib/leonardo/sync/NAME.json`, and the container's own number.
//!
//! It lies in the container, not on the workspace: it is about the image's copy, which only this container has.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, Placement};
use serde::{Deserialize, Serialize};

use crate::clock::Instant;
use kit::units;

/// About one tree.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Memory {
    /// The generation of the image's copy, as it was when this container first looked at it.
    pub generation: Option<String>,
    /// What programs may still write to the tree that they came from, while the other is in use.
    pub leftover: Option<Leftover>,
}

/// A tree that was in use until the switch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leftover {
    /// What changed here at or after this moment has not been carried over yet, by the clock of that file system.
    pub source_since: Instant,
    /// What changed in the copy after this moment was changed by somebody else, by the clock of that file system.
    pub copy_since: Instant,
    /// How much of an old file was added to the new one although both had gone on, by name within the tree.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub carried: BTreeMap<String, u64>,
}

impl Memory {
    /// What is remembered; a file that is missing or damaged is no memory, which costs a second look and no data.
    pub fn load(directory: &Path, tree: &str) -> Self {
        fs::read(file(directory, tree))
            .ok()
            .and_then(|text| serde_json::from_slice(&text).ok())
            .unwrap_or_default()
    }

    /// Remembers.
    pub fn store(&self, directory: &Path, tree: &str) -> Result<()> {
        prepare(directory)?;
        let mut text = serde_json::to_vec(self)?;
        text.push(b'\n');
        atomic::write_if_changed(&file(directory, tree), &text, Placement::durable(0o644)).map(drop)
    }
}

fn file(directory: &Path, tree: &str) -> PathBuf {
    directory.join(format!("{tree}.json"))
}

fn prepare(directory: &Path) -> Result<()> {
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))
}

/// This container's own random name, made when it is first asked for; another container on the same workspace has
/// another, on another machine as well.
pub fn container(directory: &Path) -> Result<String> {
    prepare(directory)?;
    let path = directory.join("container");
    match fs::read_to_string(&path) {
        Ok(name) if name.len() == 32 => return Ok(name),
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            return Err(error).with_context(|| format!("cannot read {}", path.display()));
        }
        _ => {}
    }
    let mut random = [0; 16];
    fs::File::open("/dev/urandom")
        .and_then(|mut source| source.read_exact(&mut random))
        .context("cannot read /dev/urandom")?;
    let name = units::hexadecimal(&random);
    atomic::write(&path, name.as_bytes(), Placement::durable(0o644))?;
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_stored_is_remembered_and_damage_is_forgotten() {
        let dir = tempfile::tempdir().unwrap();
        let place = dir.path().join("sync");
        assert_eq!(Memory::load(&place, "x"), Memory::default());
        let memory = Memory {
            generation: Some("g".into()),
            leftover: Some(Leftover {
                source_since: Instant(1, 2),
                copy_since: Instant(3, 4),
                carried: [("server.log".to_owned(), 5)].into(),
            }),
        };
        memory.store(&place, "x").unwrap();
        assert_eq!(Memory::load(&place, "x"), memory);
        fs::write(place.join("x.json"), "{").unwrap();
        assert_eq!(Memory::load(&place, "x"), Memory::default());
    }

    #[test]
    fn a_container_keeps_its_name() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (dir.path().join("one"), dir.path().join("other"));
        let name = container(&one).unwrap();
        assert_eq!(container(&one).unwrap(), name);
        assert_ne!(container(&other).unwrap(), name);
        assert_eq!(name.len(), 32);
    }
}
