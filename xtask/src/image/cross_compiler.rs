//! What compiling for another architecture needs beside cargo.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, anyhow};
use kit::HintExt;

use crate::bake::Platform;
use crate::engine::packages;

/// Rust's target of a platform.
pub fn target(platform: Platform) -> String {
    format!("{}-unknown-linux-gnu", platform.machine())
}

/// Points a command that runs cargo at the platform's linker; installs it, and fails with the command that installs what
/// else is missing.
pub fn prepare(build: &mut Command, platform: Platform) -> Result<()> {
    let (machine, architecture, target) = (platform.machine(), platform.architecture(), target(platform));
    let linker = format!("{machine}-linux-gnu-gcc");
    packages::install(&[(&linker, &format!("gcc-{}-linux-gnu", machine.replace('_', "-")))])?;
    let libraries =
        kit::cmd::stdout(Command::new("rustc").args(["--print", "target-libdir", "--target", &target]))?;
    require(&PathBuf::from(libraries.trim()), &format!("rustup target add {target}"))?;
    require(
        &PathBuf::from(format!("/usr/lib/{machine}-linux-gnu/libacl.a")),
        &format!(
            "dpkg --add-architecture {architecture} && apt-get update && apt-get install libacl1-dev:{architecture}"
        ),
    )?;
    build.env(format!("CARGO_TARGET_{}_LINKER", target.to_uppercase().replace('-', "_")), linker);
    Ok(())
}

fn require(path: &Path, remedy: &str) -> Result<()> {
    if path.exists() {
        return Ok(());
    }
    Err(anyhow!("cannot compile for another architecture: {} does not exist", path.display()))
        .hint(|| remedy.to_owned())
}
