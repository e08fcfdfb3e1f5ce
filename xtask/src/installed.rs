//! Programs of other people that cargo builds for us, in one version.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cargo::cargo;
use crate::checkout::Checkout;
use crate::step;

/// The machine's own `name` if it is this version, else one below `target`.
pub fn provide(checkout: &Checkout, name: &str, version: &str) -> Result<PathBuf> {
    let wanted = format!("{name} {version}");
    let own = checkout.root().join("target/tools");
    let candidates = [PathBuf::from(name), own.join("bin").join(name)];
    let found = candidates.into_iter().find(|program| {
        kit::cmd::stdout(Command::new(program).arg("--version")).is_ok_and(|version| version.trim() == wanted)
    });
    if let Some(program) = found {
        return Ok(program);
    }
    let mut install = cargo(checkout);
    install.args(["install", name, "--locked", "--version", version, "--root"]).arg(&own);
    step::run(&format!("build {wanted} (some minutes, once)"), &mut install)?;
    Ok(own.join("bin").join(name))
}
