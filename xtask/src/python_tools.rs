//! Public programs from `PyPI`, pinned by version and digest in `xtask/pins/NAME.requirements.txt`.

use std::fs;
use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::missing_ok;

use crate::checkout::Checkout;
use crate::engine::packages;
use crate::step;

/// Returns the directory of the programs that a list names; installs them below `target` if the list has changed.
pub fn ensure_installed(checkout: &Checkout, list: &str) -> Result<PathBuf> {
    let requirements = checkout.root().join("xtask/pins").join(list).with_extension("requirements.txt");
    let pinned =
        fs::read(&requirements).with_context(|| format!("cannot read {}", requirements.display()))?;
    let environment = checkout.root().join("target/tools/python").join(list);
    // Written last: an environment without it was interrupted.
    let installed = environment.join("requirements.txt");
    let programs = environment.join("bin");
    if atomic::has_content(&installed, &pinned) {
        return Ok(programs);
    }
    packages::install(&[("/usr/share/doc/python3-venv", "python3-venv")])?;
    missing_ok(fs::remove_dir_all(&environment))
        .with_context(|| format!("cannot remove {}", environment.display()))?;
    let mut create = Command::new("python3");
    step::run(
        &format!("create a Python environment for {list}"),
        create.args(["-m", "venv"]).arg(&environment),
    )?;
    let mut install = Command::new(programs.join("pip"));
    install.args(["install", "--disable-pip-version-check", "--no-deps", "--only-binary", ":all:"]);
    install.args(["--require-hashes", "--requirement"]).arg(&requirements);
    step::run(&format!("install the programs of {list}.requirements.txt (once)"), &mut install)?;
    atomic::write(&installed, &pinned, WriteOptions::volatile(0o644))?;
    Ok(programs)
}
