//! cargo-deny: licences, sources and versions of what we build upon.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cargo::cargo;
use crate::checkout::Checkout;
use crate::{probe, shown};

/// The version whose configuration format `deny.toml` is written in.
const VERSION: &str = "0.20.2";
/// Where the advisories come from; they are checked only where this can be reached.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";
/// How long that may take.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// Checks the dependencies against `deny.toml`; says so where the advisories cannot be fetched.
pub fn check(checkout: &Checkout) -> Result<()> {
    let program = provide(checkout)?;
    let mut deny = Command::new(&program);
    deny.current_dir(checkout.root()).args(["--workspace", "check", "bans", "licenses", "sources"]);
    let reachable =
        probe::answer(Command::new("git").args(["ls-remote", "--quiet", ADVISORIES, "HEAD"]), DEADLINE);
    if reachable.is_ok() {
        deny.arg("advisories");
    } else {
        log::warn!("{ADVISORIES} cannot be reached, so advisories are not checked");
    }
    shown::run(&mut deny)
}

/// The machine's own cargo-deny if it is this version, else one below `target`.
fn provide(checkout: &Checkout) -> Result<PathBuf> {
    let wanted = format!("cargo-deny {VERSION}");
    let own = checkout.root().join("target/tools");
    let candidates = [PathBuf::from("cargo-deny"), own.join("bin/cargo-deny")];
    let found = candidates.into_iter().find(|program| {
        kit::cmd::stdout(Command::new(program).arg("--version")).is_ok_and(|version| version.trim() == wanted)
    });
    if let Some(program) = found {
        return Ok(program);
    }
    log::info!("building cargo-deny {VERSION} below target/tools; this takes a few minutes, once");
    let mut install = cargo(checkout);
    install.args(["install", "cargo-deny", "--locked", "--version", VERSION, "--root"]).arg(&own);
    shown::run(&mut install)?;
    Ok(own.join("bin/cargo-deny"))
}
