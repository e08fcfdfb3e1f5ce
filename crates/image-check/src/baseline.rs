//! What the base image has: its build records it, and images made from it are compared with it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::{Env, ReadPolicy};
use serde::{Deserialize, Serialize};

use crate::files::FileScan;

/// Maximum size of the file in bytes.
const MAX_BYTES: u64 = 4 << 20;

/// Record of the base image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Baseline {
    /// Its `IMAGE_SLUG`.
    pub slug: String,
    /// Programs with set-user-ID, set-group-ID or capabilities.
    pub privileged: BTreeSet<PathBuf>,
    /// Files and directories that every account can change.
    pub world_writable: BTreeSet<PathBuf>,
}

impl Baseline {
    /// Reads the record; `None` if there is none.
    pub fn read(path: &Path) -> Result<Option<Self>> {
        let Some(bytes) = ReadPolicy::max_size(MAX_BYTES).no_follow().read_if_exists(path)? else {
            return Ok(None);
        };
        serde_json::from_slice(&bytes).map(Some).with_context(|| format!("cannot parse {}", path.display()))
    }

    /// Writes the record of this image.
    pub fn record(path: &Path, env: &Env, scan: FileScan) -> Result<()> {
        let slug = env.text("IMAGE_SLUG").unwrap_or(workspace::DEFAULT_SLUG).to_owned();
        let privileged = scan.privileged.into_keys().collect();
        let record = Self { slug, privileged, world_writable: scan.world_writable };
        atomic::write(path, &serde_json::to_vec_pretty(&record)?, WriteOptions::volatile(0o644))
    }
}
