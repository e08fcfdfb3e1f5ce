//! cargo-deny: licences, sources and versions of the dependencies.

use std::process::Command;

use anyhow::Result;

use crate::checkout::Checkout;
use crate::{cargo_tools, step, timed_command};

/// Version whose configuration format `deny.toml` has.
const VERSION: &str = "0.20.2";
/// Source of the advisories; they are checked only if it is reachable.
const ADVISORIES: &str = "https://github.com/rustsec/advisory-db";
/// Timeout of the check for that.
const DEADLINE: std::time::Duration = std::time::Duration::from_secs(20);

/// Checks the dependencies against `deny.toml`; warns if the advisories cannot be fetched.
pub fn check(checkout: &Checkout) -> Result<()> {
    let program = cargo_tools::ensure_installed(checkout, "cargo-deny", VERSION)?;
    let mut deny = Command::new(&program);
    deny.current_dir(checkout.root()).args(["--workspace", "check", "bans", "licenses", "sources"]);
    let reachable = timed_command::stdout_within(
        Command::new("git").args(["ls-remote", "--quiet", ADVISORIES, "HEAD"]),
        DEADLINE,
    );
    if reachable.is_ok() {
        deny.arg("advisories");
    } else {
        log::warn!("{ADVISORIES} cannot be reached, so advisories are not checked");
    }
    step::run("check dependencies", &mut deny)
}
