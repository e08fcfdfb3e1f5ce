//! Public linters for what is not Rust: the Dockerfiles and the workflows.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::checkout::Checkout;
use crate::{python_tools, step};

/// Directory of the workflows, which may not exist in a copy without them.
const WORKFLOWS: &str = ".github/workflows";

/// Checks every Dockerfile with hadolint, and every workflow against GitHub's schema.
pub fn check(checkout: &Checkout) -> Result<()> {
    let programs = python_tools::ensure_installed(checkout, "lint")?;
    let mut hadolint = Command::new(programs.join("hadolint"));
    hadolint.current_dir(checkout.root()).args(["--config", ".config/hadolint.yaml"]);
    step::run("check Dockerfiles", hadolint.args(dockerfiles(&checkout.root().join("images"))?))?;
    let mut schema = Command::new(programs.join("check-jsonschema"));
    schema.current_dir(checkout.root()).args(["--builtin-schema", "vendor.github-workflows"]);
    step::run("check workflows", schema.args(files(&checkout.root().join(WORKFLOWS))?))
}

/// Returns the Dockerfiles of the images: one in each directory, and templates of them.
fn dockerfiles(images: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    for image in files(images)?.into_iter().filter(|path| path.is_dir()) {
        let is_dockerfile = |path: &PathBuf| {
            path.file_name().is_some_and(|name| name.to_string_lossy().starts_with("Dockerfile"))
        };
        found.extend(files(&image)?.into_iter().filter(is_dockerfile));
    }
    Ok(found)
}

fn files(directory: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(directory).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let entries = entries.with_context(|| format!("cannot read {}", directory.display()))?;
    let mut paths: Vec<_> = entries.into_iter().map(|entry| entry.path()).collect();
    paths.sort();
    Ok(paths)
}
