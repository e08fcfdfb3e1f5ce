//! The tools of this workspace, as they are shipped.
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use xtask::cargo::cargo;
use xtask::checkout::Checkout;
use xtask::step;

/// Compiles a tool as the image's are; returns where it is.
pub fn build(checkout: &Checkout, tool: &str) -> Result<PathBuf> {
    step::run(
        &format!("build {tool}"),
        cargo(checkout).args(["build", "--release", "--locked", "--package", tool]),
    )?;
    Ok(checkout.root().join("target/release").join(tool))
}

/// One pass of the engine and the commit, from one directory to another.
pub fn sync(workspace_sync: &Path, source: &Path, target: &Path) -> Command {
    let mut command = Command::new(workspace_sync);
    command.arg("copy").args([source, target]).arg("--full-speed");
    command
}
