//! The active mapping: that of the mappings file, or the last good one while the file has a mistake, also across restarts.
//! A mistake must not remove every link.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use anyhow::Result;
use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};
use kit::quote::quoted;

use crate::cli::Paths;
use crate::evaluate::{Evaluated, evaluate};
use crate::mapping::Mapping;

/// A file with a mistake is evaluated again after this time: its cause may be gone.
const RETRY_INTERVAL: Duration = Duration::from_mins(1);
/// Limit of a message, in characters.
const MAX_LENGTH: usize = 2_000;
/// Limit of the saved mapping, in bytes: ten times what bash may print.
const MAX_BYTES: u64 = 64 << 20;

/// The mapping, and the state of its file.
#[derive(Debug)]
pub struct ActiveMapping {
    file: PathBuf,
    workspace: PathBuf,
    last_good: PathBuf,
    mapping: Option<Mapping>,
    /// The mistake in the file.
    error: Option<String>,
    /// Error of the last attempt to save the mapping.
    save_error: Option<String>,
    /// Inode, size and times of the file that was evaluated last.
    evaluated: Option<[i64; 5]>,
    evaluated_at: Instant,
}

impl ActiveMapping {
    /// Loads the mapping that an earlier run has saved.
    pub fn load(paths: &Paths) -> Result<Self> {
        let last_good = paths.last_mapping();
        Ok(Self {
            file: paths.mappings.clone(),
            workspace: paths.workspace.clone(),
            mapping: ReadPolicy::max_size(MAX_BYTES).read_if_exists(&last_good)?.map(|text| decode(&text)),
            last_good,
            error: None,
            save_error: None,
            evaluated: None,
            evaluated_at: Instant::now(),
        })
    }

    /// Reads the file if it has changed, or in any case; returns true if another mapping is active now.
    pub fn reload(&mut self, force: bool) -> bool {
        let state = fs::metadata(&self.file).ok().map(|meta| {
            [
                meta.ino().cast_signed(),
                meta.size().cast_signed(),
                meta.mtime(),
                meta.mtime_nsec(),
                meta.ctime_nsec(),
            ]
        });
        let force = force || self.error.is_some() && self.evaluated_at.elapsed() >= RETRY_INTERVAL;
        if !force && state.is_some() && state == self.evaluated {
            return false;
        }
        self.evaluated = state;
        self.evaluated_at = Instant::now();
        match evaluate(&self.file, &self.workspace) {
            Ok(Evaluated { mut mapping, incomplete, .. }) => {
                let missing = self.mapping.as_ref().map(|old| old.difference(&mapping)).unwrap_or_default();
                // An empty map is normal for a new image, which has no links to lose.
                let incomplete = incomplete.filter(|_| !missing.0.is_empty() || !mapping.0.is_empty());
                if incomplete.is_some() {
                    mapping.merge(missing);
                } else if !missing.0.is_empty() {
                    let keys = missing.0.keys().map(|key| quoted(key)).collect::<Vec<_>>().join(", ");
                    let keys: String = keys.chars().take(MAX_LENGTH).collect();
                    log::info!("removing links of deleted mappings: {keys}");
                }
                self.set_error(incomplete, "existing links of missing mappings are kept");
                let changed = self.mapping.as_ref() != Some(&mapping);
                self.mapping = Some(mapping);
                changed
            }
            Err(error) => {
                self.set_error(Some(format!("{error:#}")), "the last valid mapping is still in use");
                false
            }
        }
    }

    /// Keeps the mistake in the file, and logs it once.
    fn set_error(&mut self, error: Option<String>, consequence: &str) {
        let error: Option<String> = error.map(|text| text.chars().take(MAX_LENGTH).collect());
        if let Some(text) = &error
            && self.error != error
        {
            log::warn!("{text}; {consequence}");
        }
        self.error = error;
    }

    /// Saves the mapping for later runs.
    pub fn save_last_good(&mut self) {
        if let Some(mapping) = &self.mapping {
            let saved =
                atomic::write_if_changed(&self.last_good, &encode(mapping), WriteOptions::volatile(0o644));
            self.save_error = saved.err().map(|error| format!("{error:#}"));
        }
    }

    /// The mapping; `None` if there never was a valid one.
    pub fn mapping(&self) -> Option<&Mapping> {
        self.mapping.as_ref()
    }

    /// The mistake in the file.
    pub fn error(&self) -> Option<&str> {
        self.error.as_deref()
    }

    /// Error of the last attempt to save the mapping, which later runs will not know.
    pub fn save_error(&self) -> Option<&str> {
        self.save_error.as_deref()
    }

    #[cfg(test)]
    pub fn set(&mut self, mapping: Mapping) {
        self.mapping = Some(mapping);
    }
}

/// Returns key and directory in turns, each ended by NUL.
fn encode(mapping: &Mapping) -> Vec<u8> {
    let pairs =
        mapping.0.iter().flat_map(|(key, directories)| directories.iter().map(move |path| [key, path]));
    let fields = pairs.flatten().map(|path| path.as_os_str().as_bytes());
    fields.flat_map(|field| [field, b"\0"]).flatten().copied().collect()
}

fn decode(text: &[u8]) -> Mapping {
    let path = |bytes: &[u8]| Path::new(OsStr::from_bytes(bytes)).to_owned();
    let fields: Vec<&[u8]> = text.split(|byte| *byte == 0).collect();
    let mut mapping: BTreeMap<PathBuf, BTreeSet<PathBuf>> = BTreeMap::new();
    for [key, directory] in fields.as_chunks::<2>().0 {
        mapping.entry(path(key)).or_default().insert(path(directory));
    }
    Mapping(mapping)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_saved_mapping_is_loaded() {
        let directories = |all: &[&str]| all.iter().map(PathBuf::from).collect();
        let odd = PathBuf::from(OsStr::from_bytes(b"a\n \xff"));
        for map in [
            BTreeMap::from([(PathBuf::new(), directories(&["/x", "/y z"])), (odd, directories(&["/x"]))]),
            BTreeMap::new(),
        ] {
            assert_eq!(decode(&encode(&Mapping(map.clone()))), Mapping(map));
        }
        assert_eq!(encode(&Mapping([("a".into(), directories(&["/b"]))].into())), b"a\0/b\0");
    }
}
