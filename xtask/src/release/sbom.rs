//! The list of packages in an image (SBOM), as syft writes it, against what its package managers say is installed.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use serde::Deserialize;

use super::Runner;
use crate::checkout::Checkout;
use crate::{python_tools, step};

/// Compare the packages that syft finds in an image with those that are installed
///
/// Prints the differences; exits with 1 if there are any.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Image in the engine
    image: String,
}

/// Type of a package, its name and its version.
type Package = (String, String, String);

/// Runs the task.
pub fn run(args: &Args, runner: Runner) -> Outcome {
    let checkout = Checkout::find()?;
    let docker = runner.docker()?;
    let mut list = docker();
    list.args(["run", "--rm", "--entrypoint", "dpkg-query", &args.image, "--show", "--showformat", FORMAT]);
    let mut syft = Command::new("syft");
    if !runner.dry_run {
        syft = Command::new(python_tools::ensure_installed(&checkout, "syft")?.join("syft"));
    }
    syft.envs(docker().get_envs().filter_map(|(name, value)| Some((name, value?))));
    syft.env("SYFT_CHECK_FOR_APP_UPDATE", "false").args(["scan", "--quiet", "--output", "syft-json"]);
    syft.arg(format!("docker:{}", args.image));
    if runner.dry_run {
        runner.run("", &mut list)?;
        runner.run("", &mut syft)?;
        return Ok(Exit::Done);
    }
    let installed = installed(&kit::cmd::stdout(&mut list)?);
    let found = step::with(&format!("list the packages of {}", args.image), || kit::cmd::stdout(&mut syft))?;
    let found = found_by_syft(&found)?;
    let crates = crates(&std::fs::read_to_string(checkout.root().join("Cargo.lock"))?);
    let differences = differences(&installed, &found, &crates);
    let of = |kind: &str| found.iter().filter(|package| package.0 == kind).count();
    log::info!("syft lists {} packages of Debian and {} of Rust", of(DEB), of(CRATE));
    io::stdout().write_all(differences.concat().as_bytes())?;
    Ok(if differences.is_empty() { Exit::Done } else { Exit::No })
}

const DEB: &str = "deb";
const CRATE: &str = "rust-crate";
const FORMAT: &str = "${Package}\t${Version}\t${db:Status-Status}\n";

fn installed(dpkg: &str) -> BTreeSet<Package> {
    let package = |line: &str| {
        let [name, version, "installed"] = line.split('\t').collect::<Vec<_>>()[..] else { return None };
        Some((DEB.to_owned(), name.to_owned(), version.to_owned()))
    };
    dpkg.lines().filter_map(package).collect()
}

#[derive(Deserialize)]
struct Sbom {
    artifacts: Vec<Artifact>,
}

#[derive(Deserialize)]
struct Artifact {
    #[serde(rename = "type")]
    kind: String,
    name: String,
    version: String,
}

fn found_by_syft(json: &str) -> Result<BTreeSet<Package>> {
    let sbom: Sbom = serde_json::from_str(json).context("syft did not print its JSON")?;
    Ok(sbom.artifacts.into_iter().map(|package| (package.kind, package.name, package.version)).collect())
}

/// Packages of a `Cargo.lock`.
fn crates(lock: &str) -> BTreeSet<Package> {
    let value = |line: &str, name: &str| {
        line.strip_prefix(name)?.strip_prefix(" = \"")?.strip_suffix('"').map(str::to_owned)
    };
    lock.split("[[package]]")
        .filter_map(|package| {
            let find = |name: &str| package.lines().find_map(|line| value(line, name));
            Some((CRATE.to_owned(), find("name")?, find("version")?))
        })
        .collect()
}

/// Lines about what is installed and not listed, what is listed and neither installed nor locked, and a list without a crate.
fn differences(
    installed: &BTreeSet<Package>,
    found: &BTreeSet<Package>,
    crates: &BTreeSet<Package>,
) -> Vec<String> {
    let line = |text: &str, (kind, name, version): &Package| format!("{kind} {name} {version}: {text}\n");
    let missing = installed.difference(found).map(|package| line("installed, but not listed", package));
    let known = |package: &&Package| match package.0.as_str() {
        DEB => installed.contains(*package),
        CRATE => crates.contains(*package),
        // Of Python, Node and others there is no second list.
        _ => true,
    };
    let foreign = found.iter().filter(|package| !known(package));
    let no_crate = found.iter().all(|package| package.0 != CRATE);
    let no_crate =
        no_crate.then(|| format!("{CRATE}: none is listed; cargo auditable lists those of the tools\n"));
    missing.chain(foreign.map(|package| line("listed, but not installed", package))).chain(no_crate).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_missing_and_what_is_too_much_is_named() {
        let installed = installed("bash\t5.2\tinstalled\nold\t1\tconfig-files\ncurl\t8\tinstalled\n");
        let crates = crates("version = 4\n\n[[package]]\nname = \"log\"\nversion = \"0.4\"\n");
        let artifact = |kind: &str, name: &str, version: &str| {
            format!(r#"{{"type":"{kind}","name":"{name}","version":"{version}","foundBy":"x"}}"#)
        };
        let list = |artifacts: &[String]| {
            found_by_syft(&format!(r#"{{"artifacts":[{}]}}"#, artifacts.join(","))).unwrap()
        };
        let (bash, curl) = (artifact("deb", "bash", "5.2"), artifact("deb", "curl", "8"));
        let (log, pip) = (artifact("rust-crate", "log", "0.4"), artifact("python", "pip", "1"));
        assert_eq!(differences(&installed, &list(&[bash.clone(), curl.clone(), log, pip]), &crates), [""; 0]);
        assert_eq!(
            differences(&installed, &list(&[bash.clone(), curl]), &crates),
            ["rust-crate: none is listed; cargo auditable lists those of the tools\n"]
        );
        let wrong = list(&[bash, artifact("deb", "old", "1"), artifact("rust-crate", "log", "0.3")]);
        assert_eq!(
            differences(&installed, &wrong, &crates),
            [
                "deb curl 8: installed, but not listed\n",
                "deb old 1: listed, but not installed\n",
                "rust-crate log 0.3: listed, but not installed\n",
            ]
        );
    }
}
