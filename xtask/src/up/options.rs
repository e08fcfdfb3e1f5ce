//! Options of a container, read from the command line and checked once.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kit::{UsageError, hex};
use serde::Serialize;

use super::cli::Args;
use crate::checkout::Checkout;

const SSH_KEY: &str = "SSH_PUBKEY";

/// Options that distinguish containers, besides image and name.
///
/// There is no `Debug`: the values of the environment may be secrets.
#[derive(Serialize, PartialEq, Eq)]
pub struct Options {
    /// Address on which the ports are published.
    pub bind: IpAddr,
    /// Directory that is mounted at `/workspace`.
    pub workspace: PathBuf,
    /// The container's settings.
    pub environment: BTreeMap<String, String>,
    portal_port: Option<u16>,
    ssh_port: Option<u16>,
}

impl Options {
    /// Reads the options from the arguments; `variable` returns variables of the caller's environment.
    pub fn read(
        args: &Args,
        checkout: &Checkout,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self> {
        let mut environment = environment(&args.environment, variable)?;
        if let Some(file) = &args.ssh_key {
            let key = fs::read_to_string(file).with_context(|| format!("cannot read {}", file.display()))?;
            environment.insert(SSH_KEY.to_owned(), public_key(&key, file)?);
        }
        let workspace = match &args.workspace {
            Some(dir) => {
                std::path::absolute(dir).with_context(|| format!("cannot resolve {}", dir.display()))?
            }
            None => checkout.root().join("workspace"),
        };
        Ok(Self {
            bind: args.bind,
            workspace,
            environment,
            portal_port: args.portal_port,
            ssh_port: args.ssh_port,
        })
    }

    /// Returns a digest that changes if the container has to be replaced.
    ///
    /// Only requested ports count: a free port that an earlier call chose may differ.
    pub fn digest(&self, image_id: &str) -> String {
        let text = serde_json::json!({ "image": image_id, "options": self }).to_string();
        hex::sha256(text.as_bytes())
    }

    /// Options with the default address and ports.
    #[cfg(test)]
    pub fn for_test(workspace: &str, environment: BTreeMap<String, String>) -> Self {
        let bind = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);
        Self { bind, workspace: workspace.into(), environment, portal_port: None, ssh_port: None }
    }

    /// The SSH server's port inside the container.
    pub fn ssh_inside(&self) -> u16 {
        let port = self.environment.get("SSH_PORT").and_then(|port| port.trim().parse().ok());
        port.filter(|port| *port > 0).unwrap_or(22)
    }

    /// True if the SSH server will start.
    pub fn has_ssh_key(&self) -> bool {
        self.environment.contains_key(SSH_KEY)
    }

    /// Docker refuses a missing directory.
    pub fn make_workspace(&self) -> Result<()> {
        fs::create_dir_all(&self.workspace)
            .with_context(|| format!("cannot create {}", self.workspace.display()))
    }
}

fn environment(
    settings: &[String],
    variable: impl Fn(&str) -> Option<OsString>,
) -> Result<BTreeMap<String, String>> {
    settings.iter().map(|setting| pair(setting, &variable)).collect()
}

/// `NAME=VALUE`, or `NAME` alone: a secret can come through the environment and stay out of the process list.
fn pair(setting: &str, variable: impl Fn(&str) -> Option<OsString>) -> Result<(String, String)> {
    let (name, value) = match setting.split_once('=') {
        Some((name, value)) => (name, value.to_owned()),
        None => {
            let value = variable(setting).with_context(|| format!("{setting} is not set in this shell"))?;
            (setting, value.into_string().map_err(|_| anyhow!("the value of {setting} is not UTF-8 text"))?)
        }
    };
    if name.is_empty() || name.contains(|letter: char| letter.is_whitespace() || letter.is_control()) {
        // The text may be a value whose name was forgotten, so it is not repeated.
        return Err(UsageError("--env wants NAME=VALUE or NAME".to_owned()).into());
    }
    if name.starts_with("DOCKER_") {
        return Err(UsageError(format!("{name} cannot be given: the docker client reads it itself")).into());
    }
    Ok((name.to_owned(), value))
}

/// Returns the public key; refuses a private key, the most common mistake.
fn public_key(text: &str, file: &Path) -> Result<String> {
    let text = text.trim();
    if text.is_empty() || text.contains("PRIVATE KEY") {
        return Err(UsageError(format!("{} is not a public key", file.display())).into());
    }
    Ok(text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn options(arguments: &[&str]) -> Result<Options> {
        let dir = tempfile::tempdir().unwrap();
        let line = Line::try_parse_from(["up"].iter().chain(arguments)).unwrap();
        let given = |name: &str| (name == "TOKEN").then(|| OsString::from("s=e c\nret="));
        let mut options = Options::read(&line.args, &Checkout::at(dir.path()).unwrap(), given)?;
        if line.args.workspace.is_none() {
            assert_eq!(options.workspace.file_name().unwrap(), "workspace");
            options.workspace = PathBuf::from("/w");
        }
        Ok(options)
    }

    fn digest(arguments: &[&str]) -> String {
        options(arguments).unwrap().digest("sha256:1")
    }

    fn refusal(arguments: &[&str]) -> String {
        options(arguments).err().unwrap().to_string()
    }

    #[test]
    fn every_option_and_the_image_change_the_digest_and_order_does_not() {
        let plain = digest(&[]);
        let others: &[&[&str]] = &[
            &["--env", "A=1"],
            &["--env", "A=2"],
            &["--env", "A="],
            &["--portal-port", "1111"],
            &["--ssh-port", "1111"],
            &["--bind", "0.0.0.0"],
            &["--workspace", "/x"],
        ];
        let others: Vec<_> = others.iter().map(|arguments| digest(arguments)).collect();
        let distinct: std::collections::BTreeSet<_> = others.iter().chain([&plain]).collect();
        assert_eq!(distinct.len(), others.len() + 1, "{others:?}");
        assert_eq!(plain, digest(&[]));
        assert_ne!(plain, options(&[]).unwrap().digest("sha256:2"));
        assert_eq!(digest(&["--env", "A=1", "--env", "B=2"]), digest(&["--env", "B=2", "--env", "A=1"]));
    }

    #[test]
    fn a_value_keeps_every_byte() {
        let options = options(&["--env", "A=b=c==", "--env", "TOKEN", "--env", "E="]).unwrap();
        let pairs: Vec<_> =
            options.environment.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        assert_eq!(pairs, [("A", "b=c=="), ("E", ""), ("TOKEN", "s=e c\nret=")]);
    }

    #[test]
    fn a_setting_without_a_usable_name_is_refused_and_a_value_is_never_repeated() {
        assert_eq!(refusal(&["--env", "=hunter2"]), "--env wants NAME=VALUE or NAME");
        assert_eq!(refusal(&["--env", "A B=hunter2"]), "--env wants NAME=VALUE or NAME");
        assert_eq!(refusal(&["--env", "MISSING"]), "MISSING is not set in this shell");
        assert_eq!(
            refusal(&["--env", "DOCKER_HOST=tcp://x"]),
            "DOCKER_HOST cannot be given: the docker client reads it itself"
        );
    }

    #[test]
    fn a_private_key_is_not_sent_into_a_container() {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), "-----BEGIN OPENSSH PRIVATE KEY-----\n").unwrap();
        let path = file.path().to_str().unwrap();
        assert_eq!(refusal(&["--ssh-key", path]), format!("{path} is not a public key"));
        fs::write(file.path(), "ssh-ed25519 AAAA me\n").unwrap();
        let options = options(&["--ssh-key", path]).unwrap();
        assert_eq!(options.environment["SSH_PUBKEY"], "ssh-ed25519 AAAA me");
        assert!(options.has_ssh_key());
    }

    #[test]
    fn the_ssh_port_inside_follows_the_setting() {
        assert_eq!(options(&[]).unwrap().ssh_inside(), 22);
        assert_eq!(options(&["--env", "SSH_PORT=2200"]).unwrap().ssh_inside(), 2200);
        assert_eq!(options(&["--env", "SSH_PORT=x"]).unwrap().ssh_inside(), 22, "the image falls back, too");
    }
}
