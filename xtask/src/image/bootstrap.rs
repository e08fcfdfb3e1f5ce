//! Base images from a distribution's package archive, without a container registry.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;
use kit::missing_ok;

use crate::engine::{apt, packages};
use crate::step;

/// A base that can be made from packages.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Bootstrap {
    /// Debian 12, in place of debian:12-slim
    #[value(name = "debian-12")]
    Debian12,
    /// Ubuntu 22.04, in place of ubuntu:22.04
    #[value(name = "ubuntu-22.04")]
    Ubuntu2204,
    /// Ubuntu 24.04, in place of ubuntu:24.04
    #[value(name = "ubuntu-24.04")]
    Ubuntu2404,
}

/// Ubuntu's signing keys, where its packages put them on Debian and Ubuntu alike.
const UBUNTU_KEYRING: &str = "/usr/share/keyrings/ubuntu-archive-keyring.gpg";
/// The oldest release of Debian that has a package with [`UBUNTU_KEYRING`].
const SUITE_WITH_UBUNTU_KEYRING: &str = "trixie";

impl Bootstrap {
    /// Returns the base that takes the place of `image`: of the registry's image, or of one that was made here.
    #[must_use]
    pub fn of_image(image: &str) -> Option<Self> {
        let made = |base: &&Self| image == base.listed() || image == base.image();
        Self::value_variants().iter().find(made).copied()
    }

    /// Image reference under which the base is kept; while it exists, builds use it.
    #[must_use]
    pub fn image(self) -> &'static str {
        match self {
            Self::Debian12 => "leonardo/bootstrap:debian-12",
            Self::Ubuntu2204 => "leonardo/bootstrap:ubuntu-22.04",
            Self::Ubuntu2404 => "leonardo/bootstrap:ubuntu-24.04",
        }
    }

    /// The registry's image that it replaces.
    fn listed(self) -> &'static str {
        match self {
            Self::Debian12 => "debian:12-slim",
            Self::Ubuntu2204 => "ubuntu:22.04",
            Self::Ubuntu2404 => "ubuntu:24.04",
        }
    }

    fn suite(self) -> &'static str {
        match self {
            Self::Debian12 => "bookworm",
            Self::Ubuntu2204 => "jammy",
            Self::Ubuntu2404 => "noble",
        }
    }

    /// The components of the registry's image: its apt finds the same packages.
    fn components(self) -> &'static str {
        match self {
            Self::Debian12 => "main",
            Self::Ubuntu2204 | Self::Ubuntu2404 => "main,restricted,universe,multiverse",
        }
    }
}

/// Makes the base, or makes it anew; apt checks the archive's signatures. `scratch` needs 300 MB for a moment.
pub fn make(base: Bootstrap, docker: &impl Fn() -> Command, scratch: &Path) -> Result<()> {
    packages::install(&[("mmdebstrap", "mmdebstrap"), (apt::KEYRING, "debian-archive-keyring")])?;
    fs::create_dir_all(scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let (image, suite) = (base.image(), base.suite());
    let archive = scratch.join(format!("bootstrap-{suite}.tar"));
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args([
        "--quiet",
        "--variant=minbase",
        "--include=apt",
        "--aptopt=Acquire::Languages \"none\"",
    ]);
    mmdebstrap.arg(format!("--components={}", base.components()));
    if base != Bootstrap::Debian12 {
        mmdebstrap.arg("--keyring").arg(ubuntu_keyring(scratch)?);
    }
    // Without a mirror, so that the sources inside name the distribution's own archive, with updates and security.
    let made = step::run(
        &format!("make the base {image} from the distribution's package archive"),
        mmdebstrap.env("PATH", packages::search_path(&[])).arg(suite).arg(&archive),
    );
    let imported = made.and_then(|()| {
        let sources =
            kit::cmd::stdout(Command::new("tar").arg("-xOf").arg(&archive).arg("./etc/apt/sources.list"))?;
        check_sources(&sources, suite)?;
        let mut import = docker();
        import.args(["import", "--change", "CMD [\"bash\"]"]).arg(&archive).arg(image);
        step::run(&format!("import {image}"), &mut import)
    });
    let removed = missing_ok(fs::remove_file(&archive));
    imported?;
    removed.map(drop).with_context(|| format!("cannot remove {}", archive.display()))
}

/// Returns Ubuntu's signing keys: the machine's, or else those of Debian's package, whose signature apt checks.
fn ubuntu_keyring(scratch: &Path) -> Result<PathBuf> {
    let unpacked = scratch.join("ubuntu-keyring");
    let below = |root: &Path| root.join(UBUNTU_KEYRING.trim_start_matches('/'));
    if let Some(found) = [Path::new("/"), &unpacked].map(below).into_iter().find(|path| path.is_file()) {
        return Ok(found);
    }
    let apt = apt::Isolated::new(&scratch.join("apt"), SUITE_WITH_UBUNTU_KEYRING)?;
    let title = format!("read the package lists of Debian {SUITE_WITH_UBUNTU_KEYRING}");
    step::run(&title, &mut apt.command("update"))?;
    let mut download = apt.command("download");
    step::run("fetch Ubuntu's signing keys", download.arg("ubuntu-keyring").current_dir(scratch))?;
    let is_deb = |path: &PathBuf| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| {
            name.starts_with("ubuntu-keyring_") && Path::new(name).extension().is_some_and(|end| end == "deb")
        })
    };
    let entries = fs::read_dir(scratch).with_context(|| format!("cannot read {}", scratch.display()))?;
    let deb = entries.flatten().map(|entry| entry.path()).find(is_deb);
    let deb = deb.context("apt-get download left no ubuntu-keyring package")?;
    kit::cmd::run(Command::new("dpkg-deb").arg("-x").arg(&deb).arg(&unpacked))?;
    for leftover in [fs::remove_file(&deb), fs::remove_dir_all(scratch.join("apt"))] {
        leftover.with_context(|| format!("cannot clean up {}", scratch.display()))?;
    }
    Ok(below(&unpacked))
}

/// Refuses a base without security updates.
fn check_sources(sources: &str, suite: &str) -> Result<()> {
    for suite in ["updates", "security"].map(|kind| format!("{suite}-{kind}")) {
        let named =
            sources.lines().any(|line| line.starts_with("deb ") && line.split(' ').any(|word| word == suite));
        if !named {
            bail!("the bootstrapped base would get no packages of {suite}");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_base_without_security_updates_is_refused() {
        let main = "deb http://m.example/debian bookworm main\n";
        let updates = "deb http://m.example/debian bookworm-updates main\n";
        let security = "deb http://s.example/debian-security bookworm-security main\n";
        check_sources(&format!("{main}{updates}{security}"), "bookworm").unwrap();
        for missing in [format!("{main}{updates}"), format!("{main}{updates}# {security}"), String::new()] {
            assert!(
                check_sources(&missing, "bookworm")
                    .unwrap_err()
                    .to_string()
                    .contains("would get no packages"),
                "{missing}"
            );
        }
    }

    #[test]
    fn a_base_is_found_by_both_of_its_images() {
        for base in Bootstrap::value_variants() {
            assert_eq!(Bootstrap::of_image(base.image()), Some(*base));
            assert_eq!(Bootstrap::of_image(base.listed()), Some(*base));
            let name = base.to_possible_value().unwrap();
            assert_eq!(base.image(), format!("leonardo/bootstrap:{}", name.get_name()));
        }
        assert_eq!(Bootstrap::of_image("nvidia/cuda:12.1.1-base-ubuntu22.04"), None);
    }
}
