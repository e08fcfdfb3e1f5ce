//! A mounted certificate, brought to where Caddy's account can read it.
//!
//! What is mounted often belongs to root and is readable by root alone. Certificate and key go into one file, so that
//! they are replaced together. Nobody but root writes in its directory: what is Caddy's cannot steer our write.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read};
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use kit::atomic::{self, Placement};
use kit::{Env, Problem, cmd};

use crate::account;

/// Where people mount `cert.pem` (with the chain of its issuers) and `key.pem`.
const MOUNTED: &str = "/opt/caddy/tls";
/// Where Caddy takes both from; caddy-run makes a pair of its own if there is none.
const DIRECTORY: &str = "/var/lib/caddy-tls";
const PAIR: &str = "pair.pem";
/// No honest file is larger, in bytes.
const LARGEST: u64 = 1024 * 1024;

/// Brings a good pair over; a bad one is reported, and https goes on with a self-signed certificate.
pub fn settle(env: &Env, problems: &mut Vec<Problem>) -> Result<()> {
    let provider = cloud::detect(env);
    if !provider.proxies().is_empty() {
        problems.push(Problem::new(
            "WEB_ENABLE_HTTPS",
            format!(
                "the https proxy of {} speaks http to the container and is sent to https for ever; use ports that are \
                 published over TCP, or leave it out",
                provider.name()
            ),
        ));
    }
    let caddy = account::user_id("caddy")?;
    let path = Path::new(DIRECTORY).join(PAIR);
    match mounted(Path::new(MOUNTED)) {
        Ok(Some(pair)) => {
            make_directory(caddy.gid)?;
            let placement = Placement::durable(0o640).owned_by(0, caddy.gid);
            atomic::write_if_changed(&path, pair.as_bytes(), placement).map(drop)
        }
        Ok(None) => remove(&path),
        Err(error) => {
            problems.push(Problem::new(MOUNTED, format!("{error:#}; https uses a self-signed certificate")));
            remove(&path)
        }
    }
}

/// The mounted certificate followed by its key; nothing if neither is there.
fn mounted(directory: &Path) -> Result<Option<String>> {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    match (certificate.exists(), key.exists()) {
        (false, false) => return Ok(None),
        (true, true) => {}
        (true, false) => bail!("cert.pem has no key.pem beside it"),
        (false, true) => bail!("key.pem has no cert.pem beside it"),
    }
    let (certificate_text, key_text) = (text(&certificate)?, text(&key)?);
    check_form(&certificate_text, &key_text)?;
    let of_certificate =
        public_key(&["x509", "-noout", "-pubkey"], &certificate).context("cert.pem is not usable")?;
    let of_key =
        public_key(&["pkey", "-pubout", "-passin", "pass:"], &key).context("key.pem is not usable")?;
    ensure!(of_certificate == of_key, "key.pem is not the key of cert.pem");
    Ok(Some(format!("{}\n{}\n", certificate_text.trim_end(), key_text.trim_end())))
}

/// Says what is wrong in words that a person understands, before openssl does.
fn check_form(certificate: &str, key: &str) -> Result<()> {
    ensure!(certificate.contains("-----BEGIN CERTIFICATE-----"), "cert.pem has no PEM certificate in it");
    ensure!(!key.contains("ENCRYPTED"), "key.pem is locked with a passphrase, which nobody could enter");
    ensure!(key.contains("PRIVATE KEY-----"), "key.pem has no PEM private key in it");
    Ok(())
}

/// What openssl says is the public key; it never prints the private one, and its message quotes nothing.
fn public_key(words: &[&str], file: &Path) -> Result<String> {
    cmd::stdout(Command::new("/usr/bin/openssl").args(words).arg("-in").arg(file).env_clear())
}

fn text(path: &Path) -> Result<String> {
    let cannot = || format!("cannot read {}", path.display());
    let mut text = String::new();
    let file = File::open(path).with_context(cannot)?;
    ensure!(file.metadata().with_context(cannot)?.is_file(), "{} is not a file", path.display());
    file.take(LARGEST).read_to_string(&mut text).with_context(cannot)?;
    Ok(text)
}

fn make_directory(caddy: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o750).create(DIRECTORY);
    made.and_then(|()| chown(DIRECTORY, Some(0), Some(caddy)))
        .with_context(|| format!("cannot create {DIRECTORY}"))
}

fn remove(path: &Path) -> Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn half_a_pair_or_something_else_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        let problem = || mounted(dir.path()).unwrap_err().to_string();
        assert_eq!(mounted(dir.path()).unwrap(), None);
        write("cert.pem", "text");
        assert_eq!(problem(), "cert.pem has no key.pem beside it");
        write("key.pem", "text");
        assert_eq!(problem(), "cert.pem has no PEM certificate in it");
        write("cert.pem", "-----BEGIN CERTIFICATE-----\nx\n-----END CERTIFICATE-----\n");
        assert_eq!(problem(), "key.pem has no PEM private key in it");
        write("key.pem", "-----BEGIN ENCRYPTED PRIVATE KEY-----\n");
        assert_eq!(problem(), "key.pem is locked with a passphrase, which nobody could enter");
    }
}
