//! `cargo xtask images downloads`: checks the pinned downloads against their sources.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Write};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use kit::{Exit, Outcome, hex};

use crate::checkout::Checkout;

/// Download every pinned file, compare its digest, and name newer releases
///
/// The files are those of images/base/pins: for all architectures, with the Python packages and AMD's signing key. Exit
/// code 1 if one is gone or differs.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// A file that a build downloads.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Pin {
    name: String,
    digest: String,
    /// The file inside a `.tar.gz`, if the address is that of an archive.
    member: Option<String>,
    address: String,
}

/// Runs the task.
pub fn run(_: &Args) -> Outcome {
    let checkout = Checkout::find()?;
    let pins = checkout.root().join("images/base/pins");
    let scratch = checkout.image_dir().join("downloads");
    fs::create_dir_all(&scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let mut failed = false;
    let mut report = |name: &str, verdict: Result<()>, newer: Option<String>| -> Result<()> {
        let newer = newer.map(|newer| format!("; newer: {newer}")).unwrap_or_default();
        failed |= verdict.is_err();
        let verdict = verdict.map_or_else(|error| format!("{error:#}"), |()| "as pinned".to_owned());
        writeln!(io::stdout(), "{name}: {verdict}{newer}").context("cannot write to stdout")
    };
    let mut latest: BTreeMap<String, Option<String>> = BTreeMap::new();
    for pin in self::pins(&read(&pins.join("downloads.txt"))?, &read(&pins.join("rocm.sha256"))?)? {
        let newer = release(&pin.address).and_then(|(project, tag)| {
            let asked = latest.entry(project.clone()).or_insert_with(|| latest_release(&project));
            asked.clone().filter(|newest| *newest != tag)
        });
        report(&pin.name, check(&pin, &scratch.join("file")), newer)?;
    }
    for file in ["caddy.requirements.txt", "supervisor.requirements.txt"] {
        let file = pins.join(file);
        let (name, version) = requirement(&read(&file)?)?;
        let newer = latest_wheel(&name).filter(|newest| *newest != version);
        report(&format!("{name} {version}"), check_wheel(&file, &scratch), newer)?;
    }
    fs::remove_dir_all(&scratch).with_context(|| format!("cannot remove {}", scratch.display()))?;
    Ok(if failed { Exit::No } else { Exit::Done })
}

fn read(path: &Path) -> Result<String> {
    fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))
}

/// Reads the lists of the build's steps (their columns are described in them).
fn pins(downloads: &str, rocm: &str) -> Result<Vec<Pin>> {
    let lines = |text: &str| -> Vec<Vec<String>> {
        let lines = text.lines().filter(|line| !line.starts_with('#') && !line.trim().is_empty());
        lines.map(|line| line.split_whitespace().map(str::to_owned).collect()).collect()
    };
    let mut pins = Vec::new();
    for columns in lines(downloads) {
        let [name, architecture, _need, digest, _path, member, address] = &columns[..] else {
            bail!("downloads.txt: a row has {} columns instead of 7: {}", columns.len(), columns.join(" "));
        };
        pins.push(Pin {
            name: format!("{name} {architecture}"),
            digest: digest.clone(),
            member: (member != "-").then(|| member.clone()),
            address: address.clone(),
        });
    }
    for columns in lines(rocm) {
        let [digest, address] = &columns[..] else {
            bail!("rocm.sha256: not a digest and an address: {}", columns.join(" "))
        };
        pins.push(Pin {
            name: "ROCm's key".into(),
            digest: digest.clone(),
            member: None,
            address: address.clone(),
        });
    }
    Ok(pins)
}

fn curl() -> Command {
    let mut curl = Command::new("curl");
    curl.args([
        "--silent",
        "--show-error",
        "--proto",
        "=https",
        "--connect-timeout",
        "15",
        "--max-time",
        "600",
    ]);
    curl
}

fn check(pin: &Pin, file: &Path) -> Result<()> {
    kit::cmd::run(curl().args(["--fail", "--location", "--output"]).arg(file).arg(&pin.address))?;
    verify(pin, file)
}

/// Compares the digest of the downloaded file, or of the file in the downloaded archive.
fn verify(pin: &Pin, file: &Path) -> Result<()> {
    let installed = match &pin.member {
        None => file.to_owned(),
        Some(member) => {
            let directory = file.with_extension("unpacked");
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
            kit::cmd::run(Command::new("tar").arg("-C").arg(&directory).arg("-xzf").arg(file).arg(member))?;
            directory.join(member)
        }
    };
    let content = fs::read(&installed).with_context(|| format!("cannot read {}", installed.display()))?;
    let found = hex::sha256(&content);
    if found != pin.digest {
        bail!("{} has SHA-256 {found}, pinned is {}", pin.address, pin.digest);
    }
    Ok(())
}

/// The project and tag of a file of a GitHub release.
fn release(address: &str) -> Option<(String, String)> {
    let (project, rest) = address.strip_prefix("https://github.com/")?.split_once("/releases/download/")?;
    Some((project.to_owned(), rest.split('/').next()?.to_owned()))
}

/// The tag that GitHub's address of the latest release redirects to.
fn latest_release(project: &str) -> Option<String> {
    let mut ask = curl();
    ask.args(["--output", "/dev/null", "--write-out", "%{redirect_url}"]);
    let redirect = kit::cmd::stdout(ask.arg(format!("https://github.com/{project}/releases/latest"))).ok()?;
    Some(redirect.split_once("/releases/tag/")?.1.trim().to_owned())
}

/// The package and version of a requirements file with one package.
fn requirement(text: &str) -> Result<(String, String)> {
    let mut found =
        text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split_once("=="));
    let (name, rest) = found.next().context("the requirements name no package with a version")?;
    Ok((name.to_owned(), rest.split_whitespace().next().unwrap_or_default().to_owned()))
}

fn pip() -> Command {
    let mut pip = Command::new("python3");
    pip.args(["-m", "pip", "--quiet", "--disable-pip-version-check"]);
    pip
}

fn check_wheel(requirements: &Path, into: &Path) -> Result<()> {
    let mut download = pip();
    download.args([
        "download",
        "--no-cache-dir",
        "--no-deps",
        "--only-binary",
        ":all:",
        "--require-hashes",
        "--requirement",
    ]);
    kit::cmd::run(download.arg(requirements).arg("--dest").arg(into))
}

/// Reads `NAME (VERSION)`, the first line of `pip index versions`.
fn latest_wheel(name: &str) -> Option<String> {
    let answer = kit::cmd::stdout(pip().args(["index", "versions", name])).ok()?;
    Some(answer.split_once('(')?.1.split_once(')')?.0.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lists_of_the_build_are_read_as_its_steps_read_them() {
        let pins = pins(
            include_str!("../../../images/base/pins/downloads.txt"),
            include_str!("../../../images/base/pins/rocm.sha256"),
        )
        .unwrap();
        let names: Vec<_> = pins.iter().map(|pin| pin.name.as_str()).collect();
        assert_eq!(names.first(), Some(&"caddy amd64"));
        assert_eq!(names.last(), Some(&"ROCm's key"));
        for pin in &pins {
            assert!(pin.address.starts_with("https://") && pin.digest.len() == 64, "{pin:?}");
        }
        assert_eq!(pins[0].member.as_deref(), Some("caddy"));
        let (project, tag) = release(&pins[0].address).unwrap();
        assert_eq!(project, "caddyserver/caddy");
        assert!(tag.starts_with('v'), "{tag}");
        for text in [
            include_str!("../../../images/base/pins/caddy.requirements.txt"),
            include_str!("../../../images/base/pins/supervisor.requirements.txt"),
        ] {
            let (name, version) = requirement(text).unwrap();
            assert!(
                !name.is_empty() && version.starts_with(|first: char| first.is_ascii_digit()),
                "{version}"
            );
        }
    }

    #[test]
    fn the_digest_is_that_of_the_file_inside_an_archive() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("caddy"), "program").unwrap();
        let archive = dir.path().join("a.tar.gz");
        kit::cmd::run(Command::new("tar").arg("-C").arg(dir.path()).arg("-czf").arg(&archive).arg("caddy"))
            .unwrap();
        let pin = Pin {
            name: "caddy".into(),
            digest: hex::sha256(b"program"),
            member: Some("caddy".into()),
            address: "https://x.example/a.tar.gz".into(),
        };
        verify(&pin, &archive).unwrap();
        let other = Pin { digest: hex::sha256(b"other"), ..pin };
        assert_eq!(
            verify(&other, &archive).unwrap_err().to_string(),
            format!(
                "https://x.example/a.tar.gz has SHA-256 {}, pinned is {}",
                hex::sha256(b"program"),
                hex::sha256(b"other")
            )
        );
    }
}
