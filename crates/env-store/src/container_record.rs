//! Record of the container that owns the local state, and of the variables that its starts stored: another container
//! must not have them.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};

/// The container and its stored variables, as a file: its name, then the names of the variables, one per line.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ContainerRecord {
    /// The container that owns the state; `None` before the first start.
    pub container: Option<String>,
    /// Names of the stored variables that belong to this container.
    pub stored: BTreeSet<String>,
}

impl ContainerRecord {
    /// Path of the record.
    pub const PATH: &str = "/var/lib/leonardo/container";

    /// Reads the record; a missing or unreadable one belongs to no container.
    #[must_use]
    pub fn read(path: &Path) -> Self {
        let text = fs::read_to_string(path).unwrap_or_default();
        let mut lines = text.lines().map(str::to_owned);
        Self { container: lines.next(), stored: lines.collect() }
    }

    /// Replaces the record.
    pub fn write(&self, path: &Path) -> Result<()> {
        let directory = path.parent().context("a record without a directory")?;
        fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
        let container = self.container.as_deref().unwrap_or_default();
        let text = self.stored.iter().fold(format!("{container}\n"), |lines, name| lines + name + "\n");
        atomic::write_if_changed(path, text.as_bytes(), WriteOptions::durable(0o600)).map(drop)
    }

    /// Adds names of variables, before they are stored.
    pub fn add(path: &Path, names: impl IntoIterator<Item = String>) -> Result<()> {
        let mut record = Self::read(path);
        record.stored.extend(names);
        record.write(path)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_added_and_the_container_stays() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("leonardo/container");
        assert_eq!(ContainerRecord::read(&path), ContainerRecord::default());
        for container in ["", "id/layer"] {
            ContainerRecord { container: Some(container.into()), stored: ["WEB_TOKEN".into()].into() }
                .write(&path)
                .unwrap();
            ContainerRecord::add(&path, ["X".to_owned(), "WEB_TOKEN".to_owned()]).unwrap();
            let stored = ["WEB_TOKEN".to_owned(), "X".to_owned()].into();
            assert_eq!(
                ContainerRecord::read(&path),
                ContainerRecord { container: Some(container.into()), stored }
            );
        }
    }
}
