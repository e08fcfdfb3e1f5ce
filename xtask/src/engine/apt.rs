//! Debian's package manager, the machine's own and one beside it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};

use crate::step;

/// Debian's signing keys, where its packages put them on Debian and Ubuntu alike.
pub const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

/// Runs a task, and if it fails, again with fresh package lists: a machine image often has none or old ones.
pub fn updating(attempt: impl Fn() -> Result<()>) -> Result<()> {
    attempt().or_else(|_| {
        refresh()?;
        attempt()
    })
}

fn refresh() -> Result<()> {
    step::run("refresh apt's package lists", &mut get("update"))
}

/// `apt-get VERB` that asks nothing.
#[must_use]
pub fn get(verb: &str) -> Command {
    let mut command = Command::new("apt-get");
    command.arg("-q").arg(verb).env("DEBIAN_FRONTEND", "noninteractive");
    command
}

/// An apt that shares neither sources nor state nor installed packages with the machine's own.
pub struct Isolated {
    config: PathBuf,
}

impl Isolated {
    /// Prepares it below `home`, for a release of Debian.
    pub fn new(home: &Path, suite: &str) -> Result<Self> {
        for directory in
            ["etc/apt.conf.d", "etc/preferences.d", "state/lists/partial", "cache/archives/partial"]
        {
            let directory = home.join(directory);
            fs::create_dir_all(&directory)
                .with_context(|| format!("cannot create {}", directory.display()))?;
        }
        let machine = kit::cmd::stdout(Command::new("apt-config").arg("dump"))?;
        let sources = source_line(&mirror()?, suite);
        let config = home.join("apt.conf");
        atomic::write(&home.join("etc/sources.list"), sources.as_bytes(), WriteOptions::volatile(0o644))?;
        atomic::write(&config, apt_config(home, &machine).as_bytes(), WriteOptions::volatile(0o644))?;
        Ok(Self { config })
    }

    /// `apt-get VERB` with this configuration.
    #[must_use]
    pub fn command(&self, verb: &str) -> Command {
        let mut command = get(verb);
        command.env("APT_CONFIG", &self.config);
        command
    }
}

fn source_line(mirror: &str, suite: &str) -> String {
    format!("deb [signed-by={KEYRING}] {mirror} {suite} main\n")
}

/// Configuration of the isolated apt, with the machine's proxies and certificates.
fn apt_config(home: &Path, machine: &str) -> String {
    let at = |path: &str| home.join(path).display().to_string();
    let mut lines = vec![
        format!("Dir::Etc \"{}\";", at("etc")),
        format!("Dir::Etc::SourceList \"{}\";", at("etc/sources.list")),
        "Dir::Etc::SourceParts \"-\";".to_owned(),
        "Dir::Etc::netrc \"/etc/apt/auth.conf\";".to_owned(),
        "Dir::Etc::netrcparts \"/etc/apt/auth.conf.d\";".to_owned(),
        format!("Dir::State \"{}\";", at("state")),
        "Dir::State::status \"/dev/null\";".to_owned(),
        format!("Dir::Cache \"{}\";", at("cache")),
        // apt's own user often may not enter a checkout.
        "APT::Sandbox::User \"root\";".to_owned(),
        "Acquire::Languages \"none\";".to_owned(),
    ];
    let network = ["Acquire::http::", "Acquire::https::"];
    let inherited = machine.lines().filter(|line| network.iter().any(|name| line.starts_with(name)));
    lines.extend(inherited.map(str::to_owned));
    lines.join("\n") + "\n"
}

fn mirror() -> Result<String> {
    let ask = || {
        let mut command = Command::new("apt-get");
        command.args([
            "indextargets",
            "--format",
            "$(REPO_URI)\t$(LABEL)",
            "Created-By: Packages",
            "Origin: Debian",
        ]);
        kit::cmd::stdout(&mut command)
    };
    if let Some(mirror) = pick_mirror(&ask()?) {
        return Ok(mirror);
    }
    // Without package lists apt does not know which of its sources is Debian's.
    refresh()?;
    pick_mirror(&ask()?).context("apt has no source of Debian packages")
}

/// Returns the first archive that is not for security updates only.
fn pick_mirror(index_targets: &str) -> Option<String> {
    let mut rows = index_targets.lines().filter_map(|line| line.split_once('\t'));
    rows.find(|(_, label)| *label == "Debian").map(|(uri, _)| uri.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_security_archive_is_not_a_mirror() {
        let said = "http://s.example/debian-security/\tDebian-Security\nhttp://m.example/debian/\tDebian\n";
        assert_eq!(pick_mirror(said).as_deref(), Some("http://m.example/debian/"));
        assert_eq!(pick_mirror("http://s.example/debian-security/\tDebian-Security\n"), None);
    }

    #[test]
    fn the_isolated_apt_keeps_the_way_to_the_network_and_nothing_else_of_the_machine() {
        let machine = "APT::Install-Recommends \"false\";\nAcquire::http::Proxy \"http://p.example:3128\";\n\
                       Acquire::AllowInsecureRepositories \"true\";\nAcquire::https::CAInfo \"/etc/ca.pem\";\n";
        let config = apt_config(Path::new("/h"), machine);
        assert_eq!(
            config,
            "Dir::Etc \"/h/etc\";\nDir::Etc::SourceList \"/h/etc/sources.list\";\nDir::Etc::SourceParts \"-\";\n\
             Dir::Etc::netrc \"/etc/apt/auth.conf\";\nDir::Etc::netrcparts \"/etc/apt/auth.conf.d\";\n\
             Dir::State \"/h/state\";\nDir::State::status \"/dev/null\";\nDir::Cache \"/h/cache\";\n\
             APT::Sandbox::User \"root\";\nAcquire::Languages \"none\";\n\
             Acquire::http::Proxy \"http://p.example:3128\";\nAcquire::https::CAInfo \"/etc/ca.pem\";\n"
        );
    }

    #[test]
    fn packages_are_only_taken_with_debians_signature() {
        assert_eq!(
            source_line("http://m.example/debian/", "trixie"),
            "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://m.example/debian/ trixie main\n"
        );
    }
}
