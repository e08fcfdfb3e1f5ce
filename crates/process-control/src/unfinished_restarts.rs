//! Restarts in progress, on disk: if this program is killed between the stop and the start of Caddy, the next one starts it.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use kit::ReadPolicy;
use kit::atomic::{self, WriteOptions};

const INPUT: ReadPolicy = ReadPolicy::max_size(1 << 20).no_follow();

/// Names of programs that are to run again.
#[derive(Debug)]
pub struct UnfinishedRestarts {
    file: PathBuf,
    names: Mutex<BTreeSet<String>>,
}

impl UnfinishedRestarts {
    /// Reads what an earlier process left behind.
    pub fn load(file: PathBuf) -> Self {
        let text = INPUT.read(&file).unwrap_or_default();
        let names = serde_json::from_slice(&text).unwrap_or_default();
        Self { file, names: Mutex::new(names) }
    }

    /// Returns all names.
    pub fn names(&self) -> Vec<String> {
        self.names.lock().unwrap_or_else(PoisonError::into_inner).iter().cloned().collect()
    }

    /// Adds names before their programs are stopped.
    pub fn add(&self, added: &[String]) {
        self.change(|names| names.extend(added.iter().cloned()));
    }

    /// Removes names after their programs were started.
    pub fn remove(&self, removed: &[String]) {
        self.change(|names| names.retain(|name| !removed.contains(name)));
    }

    fn change(&self, change: impl FnOnce(&mut BTreeSet<String>)) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut names);
        let written = serde_json::to_vec(&*names)
            .map_err(anyhow::Error::from)
            .and_then(|text| atomic::write(&self.file, &text, WriteOptions::volatile(0o600)));
        // The restart itself needs no disk.
        if let Err(error) = written {
            log::warn!("cannot record a restart: {error:#}");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_restart_is_known_to_the_next_process_until_it_is_complete() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("restarts.json");
        let known = || UnfinishedRestarts::load(file.clone()).names();
        assert_eq!(known(), [""; 0]);
        let restarts = UnfinishedRestarts::load(file.clone());
        restarts.add(&["a".into(), "g:b".into()]);
        assert_eq!(known(), ["a", "g:b"]);
        restarts.remove(&["a".into()]);
        assert_eq!(known(), ["g:b"]);
        std::fs::write(&file, "[\"a").unwrap();
        assert_eq!(known(), [""; 0]);
    }
}
