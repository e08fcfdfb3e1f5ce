//! A Debian 12 base image without a container registry.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::engine::{apt, packages};
use crate::step;

/// The name under which the base is kept; removing this image makes the next build fetch a new one.
pub const IMAGE: &str = "leonardo/bootstrap:debian-12";

const SUITE: &str = "bookworm";

/// Makes the base from Debian's package archive; apt checks the signatures.
pub fn make(docker: &impl Fn() -> Command, scratch: &Path) -> Result<()> {
    packages::install(&[("mmdebstrap", "mmdebstrap"), (apt::KEYRING, "debian-archive-keyring")])?;
    fs::create_dir_all(scratch).with_context(|| format!("cannot create {}", scratch.display()))?;
    let archive = scratch.join("bootstrap-debian-12.tar");
    let mut mmdebstrap = Command::new("mmdebstrap");
    mmdebstrap.args(["--quiet", "--variant=minbase", "--aptopt=Acquire::Languages \"none\""]);
    // Without a mirror, so that the sources inside name Debian's own archive, with updates and security.
    step::run(
        &format!("make the base {IMAGE} from Debian's package archive"),
        mmdebstrap.env("PATH", packages::search_path(&[])).arg(SUITE).arg(&archive),
    )?;
    let sources =
        kit::cmd::stdout(Command::new("tar").arg("-xOf").arg(&archive).arg("./etc/apt/sources.list"))?;
    check_sources(&sources)?;
    let mut import = docker();
    import.args(["import", "--change", "CMD [\"bash\"]"]).arg(&archive).arg(IMAGE);
    step::run(&format!("import {IMAGE}"), &mut import)?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove {}", archive.display()))
}

/// Refuses a base without security updates.
fn check_sources(sources: &str) -> Result<()> {
    for suite in ["bookworm-updates", "bookworm-security"] {
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
        check_sources(&format!("{main}{updates}{security}")).unwrap();
        for missing in [format!("{main}{updates}"), format!("{main}{updates}# {security}"), String::new()] {
            assert!(
                check_sources(&missing).unwrap_err().to_string().contains("would get no packages"),
                "{missing}"
            );
        }
    }
}
