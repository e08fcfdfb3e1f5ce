//! A mounted certificate, copied to a place where Caddy's account can read it.
//!
//! Mounted files are often readable by root alone. Certificate and key go into one file, so that they are replaced
//! together. Only root can write in its directory: Caddy's account cannot redirect the write.

use std::fs::DirBuilder;
use std::os::unix::fs::{DirBuilderExt, chown};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail, ensure};
use kit::account_db::Ids;
use kit::atomic::{self, WriteOptions};
use kit::{Env, Problem, ReadPolicy, cmd};

use crate::note_failure;

/// Directory on which `cert.pem` (with its chain) and `key.pem` are mounted.
const MOUNTED: &str = "/opt/caddy/tls";
/// Directory from which Caddy reads the pair; caddy-run creates a self-signed one if there is none.
const DIRECTORY: &str = "/var/lib/caddy-tls";
const PAIR: &str = "pair.pem";
/// Maximum size of a file in bytes.
const MAX_BYTES: u64 = 1024 * 1024;

/// Installs a valid pair; an invalid one is reported, and https continues with a self-signed certificate.
pub fn install(env: &Env, caddy: Ids, problems: &mut Vec<Problem>) {
    let provider = cloud::detect(env);
    if !provider.proxies().is_empty() {
        problems.push(Problem::new(
            "WEB_ENABLE_HTTPS",
            format!(
                "the https proxy of {} connects over http and would be redirected to https forever; use ports \
                 published over TCP, or unset it",
                provider.name()
            ),
        ));
    }
    let path = Path::new(DIRECTORY).join(PAIR);
    let brought = mounted(Path::new(MOUNTED))
        .and_then(|pair| pair.map(|pair| install_pair(&path, &pair, caddy.gid)).transpose());
    if let Err(error) = &brought {
        problems.push(Problem::new(MOUNTED, format!("{error:#}; using a self-signed certificate")));
    }
    if !matches!(brought, Ok(Some(()))) {
        note_failure(MOUNTED, kit::remove_file(&path), problems);
    }
}

fn install_pair(path: &Path, pair: &str, caddy: u32) -> Result<()> {
    make_directory(caddy)?;
    let placement = WriteOptions::durable(0o640).owned_by(0, caddy);
    atomic::write_if_changed(path, pair.as_bytes(), placement).map(drop)
}

/// Returns the mounted certificate followed by its key, if both exist.
fn mounted(directory: &Path) -> Result<Option<String>> {
    let (certificate, key) = (directory.join("cert.pem"), directory.join("key.pem"));
    let (certificate_text, key_text) = match (text(&certificate)?, text(&key)?) {
        (None, None) => return Ok(None),
        (Some(certificate), Some(key)) => (certificate, key),
        (Some(_), None) => bail!("cert.pem has no key.pem beside it"),
        (None, Some(_)) => bail!("key.pem has no cert.pem beside it"),
    };
    check_form(&certificate_text, &key_text)?;
    let of_certificate =
        public_key(&["x509", "-noout", "-pubkey"], &certificate_text).context("cert.pem is not usable")?;
    let of_key =
        public_key(&["pkey", "-pubout", "-passin", "pass:"], &key_text).context("key.pem is not usable")?;
    ensure!(of_certificate == of_key, "key.pem is not the key of cert.pem");
    let certificates = blocks(&certificate_text, |kind| kind == "CERTIFICATE");
    let keys = blocks(&key_text, |kind| kind.ends_with("PRIVATE KEY"));
    Ok(Some(certificates.into_iter().chain(keys).collect()))
}

/// Returns the PEM blocks (RFC 7468) of the wanted kinds without the text around them, such as a byte order mark.
fn blocks(pem: &str, is_wanted: impl Fn(&str) -> bool) -> Vec<String> {
    let behind_begin = pem.split("-----BEGIN ").skip(1);
    let blocks = behind_begin.filter_map(|text| {
        let (kind, rest) = text.split_once("-----")?;
        let (content, _) = rest.split_once(&format!("-----END {kind}-----"))?;
        is_wanted(kind).then(|| format!("-----BEGIN {kind}-----{content}-----END {kind}-----\n"))
    });
    blocks.collect()
}

/// Reports common mistakes in plain words, before openssl does.
fn check_form(certificate: &str, key: &str) -> Result<()> {
    ensure!(certificate.contains("-----BEGIN CERTIFICATE-----"), "cert.pem has no PEM certificate in it");
    ensure!(!key.contains("ENCRYPTED"), "key.pem is encrypted; remove its passphrase");
    ensure!(key.contains("PRIVATE KEY-----"), "key.pem has no PEM private key in it");
    Ok(())
}

/// Returns the public key. openssl never prints the private one, and its error messages quote nothing. It gets the
/// content that was read: the file may have been replaced meanwhile.
fn public_key(words: &[&str], pem: &str) -> Result<String> {
    cmd::stdout_with_input(Command::new("/usr/bin/openssl").args(words).env_clear(), pem.as_bytes())
}

fn text(path: &Path) -> Result<Option<String>> {
    let Some(bytes) = ReadPolicy::max_size(MAX_BYTES).read_if_exists(path)? else { return Ok(None) };
    String::from_utf8(bytes).map(Some).map_err(|_| anyhow!("{} is not text", path.display()))
}

fn make_directory(caddy: u32) -> Result<()> {
    let made = DirBuilder::new().recursive(true).mode(0o750).create(DIRECTORY);
    made.and_then(|()| chown(DIRECTORY, Some(0), Some(caddy)))
        .with_context(|| format!("cannot create {DIRECTORY}"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn what_is_no_file_is_refused_by_name() {
        for (kind, refusal) in [
            ("fifo", "it is a FIFO, not a regular file"),
            ("directory", "it is a directory, not a regular file"),
            ("dangling", "it is a symbolic link to a file that does not exist"),
            ("device", "it is a device, not a regular file"),
            ("sparse", "it is larger than 1.0 MB"),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::write(dir.path().join("cert.pem"), "text").unwrap();
            let key = dir.path().join("key.pem");
            match kind {
                "fifo" => nix::unistd::mkfifo(&key, nix::sys::stat::Mode::S_IRWXU).unwrap(),
                "directory" => fs::create_dir(&key).unwrap(),
                "dangling" => symlink("nowhere", &key).unwrap(),
                "device" => symlink("/dev/zero", &key).unwrap(),
                _ => fs::File::create(&key).unwrap().set_len(40 << 30).unwrap(),
            }
            let error = mounted(dir.path()).unwrap_err().to_string();
            assert_eq!(error, format!("cannot read {}: {refusal}", key.display()));
        }
    }

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
        assert_eq!(problem(), "key.pem is encrypted; remove its passphrase");
    }

    #[test]
    fn openssl_gets_what_was_read() {
        let make = |words: &[&str], input: &str| {
            cmd::stdout_with_input(Command::new("/usr/bin/openssl").args(words), input.as_bytes()).unwrap()
        };
        let new_key = || make(&["genpkey", "-algorithm", "ed25519"], "");
        let (key, other) = (new_key(), new_key());
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
        write("key.pem", &key);
        let words = ["req", "-x509", "-key", dir.path().join("key.pem").to_str().unwrap(), "-subj", "/CN=x"]
            .map(str::to_owned);
        let certificate = make(&words.each_ref().map(String::as_str), "");
        write("cert.pem", &certificate);
        assert_eq!(mounted(dir.path()).unwrap(), Some(format!("{certificate}{key}")));
        // What Windows and `openssl x509 -text` put around it is left out.
        write("cert.pem", &format!("\u{feff}{certificate}"));
        write("key.pem", &format!("Bag Attributes\n{key}\n"));
        assert_eq!(mounted(dir.path()).unwrap(), Some(format!("{certificate}{key}")));
        write("key.pem", &other);
        assert_eq!(mounted(dir.path()).unwrap_err().to_string(), "key.pem is not the key of cert.pem");
    }
}
