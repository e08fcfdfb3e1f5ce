//! A mapping evaluated as the monitor does, without changing a link; for checks of an image.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Result;

use crate::evaluate::{Evaluated, evaluate};

/// State of a mapping.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct MappingCheck {
    /// Number of keys.
    pub keys: usize,
    /// The first command that failed: entries may be missing.
    pub failed: Option<String>,
    /// Directories that get no link, each with the reason.
    pub waiting: BTreeMap<PathBuf, String>,
}

/// Evaluates the mapping in `file`; an error names the file, and the line if known.
pub fn check_mapping(file: &Path, workspace: &Path) -> Result<MappingCheck> {
    // Without entries, it is the base image's.
    let Evaluated { mapping, failed, .. } = evaluate(file, workspace)?;
    let waiting = mapping.resolve(&workspace.join("storage"), |_| false).waiting;
    Ok(MappingCheck { keys: mapping.0.len(), failed, waiting })
}
