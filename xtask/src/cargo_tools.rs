//! Public programs that cargo builds: cargo-deny, cargo-nextest, and one for benchmarks.

use std::path::PathBuf;
use std::process::Command;

use anyhow::Result;

use crate::cargo::cargo;
use crate::checkout::Checkout;
use crate::step;

/// Returns the machine's own `name` if it has this version or a later patch of it, or else one below `target`, which is
/// built if it is missing.
pub fn ensure_installed(checkout: &Checkout, name: &str, version: &str) -> Result<PathBuf> {
    let own = checkout.root().join("target/tools");
    let candidates = [PathBuf::from(name), own.join("bin").join(name)];
    let found = candidates.into_iter().find(|program| {
        kit::cmd::stdout(Command::new(program).arg("--version"))
            .is_ok_and(|printed| is_suitable(&printed, name, version))
    });
    if let Some(program) = found {
        return Ok(program);
    }
    let mut install = cargo(checkout);
    install.args(["install", name, "--locked", "--version", version, "--root"]).arg(&own);
    step::run(&format!("build {name} {version} (some minutes, once)"), &mut install)?;
    Ok(own.join("bin").join(name))
}

/// True if `--version` printed this name, the same major and minor number, and at least this patch.
fn is_suitable(printed: &str, name: &str, version: &str) -> bool {
    let mut words = printed.split_whitespace();
    let numbers = |version: &str| -> Option<[u32; 3]> {
        let numbers: Vec<_> = version.split('.').map(str::parse).collect::<Result<_, _>>().ok()?;
        numbers.try_into().ok()
    };
    words.next() == Some(name)
        && words
            .next()
            .and_then(numbers)
            .zip(numbers(version))
            .is_some_and(|(printed, wanted)| printed[..2] == wanted[..2] && printed[2] >= wanted[2])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_later_patch_will_do_and_no_other_release() {
        let suitable = |printed| is_suitable(printed, "cargo-nextest", "0.9.143");
        assert!(suitable("cargo-nextest 0.9.143 (60fa45f63 2026-08-04)\nrelease: 0.9.143\n"));
        assert!(suitable("cargo-nextest 0.9.150\n"));
        for other in [
            "cargo-nextest 0.9.99",
            "cargo-nextest 0.10.200",
            "cargo-nextest 1.9.143",
            "cargo-next 0.9.143",
            "",
        ] {
            assert!(!suitable(other), "{other}");
        }
    }
}
