//! The certificate for https: the mounted one, or a self-signed one.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kit::atomic::{self, WriteOptions};
use kit::{ReadPolicy, cmd};
use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;

use crate::{caddy, caddy_error};

/// Mounted certificate with its key, as stored by `init`; a single file is replaced atomically.
const MOUNTED: &str = "/var/lib/caddy-tls/pair.pem";
/// Self-signed certificate with its key; kept across restarts, because browsers remember it.
const SELF_SIGNED: &str = "/var/lib/caddy/tls/self-signed.pem";
const REQUEST: [&str; 7] =
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
/// Lifetime of a self-signed certificate in days, the longest that browsers accept.
const LIFETIME_DAYS: &str = "825";
/// Remaining lifetime below which a certificate is replaced: thirty days, in seconds.
const MIN_REMAINING_SECONDS: &str = "2592000";
/// Maximum size of a self-signed certificate with its key, in bytes.
const MAX_BYTES: u64 = 128_000;

/// Returns the file with certificate and key: the mounted one if Caddy can use it, otherwise a self-signed one and the reason.
/// `public` are the public names and addresses of this container.
pub fn certificate_file(public: &[String]) -> Result<(PathBuf, Option<String>)> {
    let path = path();
    if path == Path::new(SELF_SIGNED) {
        return Ok((self_signed(public)?, None));
    }
    let Err(error) = check(&path) else { return Ok((path, None)) };
    let message = caddy_error::extract_message(&format!("{error:#}"));
    let Some((_, reason)) = message.rsplit_once("loading certificates: ") else {
        // Another error, such as a full disk, is not caused by the certificate.
        log::warn!("cannot check the mounted certificate: {message}");
        return Ok((path, None));
    };
    let problem =
        format!("Caddy cannot use the mounted certificate: {reason}; using a self-signed certificate");
    Ok((self_signed(public)?, Some(problem)))
}

/// Checks that Caddy can use a certificate: it supports fewer kinds of keys than openssl. OCSP is off, so there are no
/// network requests.
fn check(pair: &Path) -> Result<()> {
    let pair = pair.display();
    let text = format!(
        "{{\n\tadmin off\n\tauto_https off\n\tocsp_stapling off\n}}\n:1 {{\n\ttls {pair} {pair}\n}}\n"
    );
    let scratch = tempfile::tempdir_in(caddy::RUNTIME_DIRECTORY)?;
    let file = scratch.path().join("Caddyfile");
    fs::write(&file, text)?;
    caddy::validate(&file, scratch.path())
}

/// Returns the self-signed certificate, which is created if there is no usable one.
fn self_signed(public: &[String]) -> Result<PathBuf> {
    let path = PathBuf::from(SELF_SIGNED);
    if is_usable(&path) {
        return Ok(path);
    }
    let names = container_names(public);
    let path = match create(&path, &names) {
        Ok(()) => path,
        Err(error) => {
            // Without a certificate, no visitor could connect.
            log::warn!("{error:#}; the certificate is lost when the container is removed");
            let other = Path::new(caddy::RUNTIME_DIRECTORY).join("self-signed.pem");
            create(&other, &names).context("cannot create a self-signed certificate")?;
            other
        }
    };
    log::info!("created a self-signed certificate: {}", path.display());
    Ok(path)
}

/// Returns the path of the mounted certificate, or of the self-signed one, which may not exist yet.
pub fn path() -> PathBuf {
    let mounted = Path::new(MOUNTED);
    if mounted.exists() { mounted.to_owned() } else { SELF_SIGNED.into() }
}

/// True if the certificate does not expire soon and cannot sign others, unlike those of an early version.
fn is_usable(path: &Path) -> bool {
    let Ok(pair) = ReadPolicy::max_size(MAX_BYTES).read(path) else { return false };
    let mut query =
        openssl(&["x509", "-noout", "-checkend", MIN_REMAINING_SECONDS, "-ext", "basicConstraints"]);
    cmd::stdout_with_input(&mut query, &pair).is_ok_and(|text| text.contains("CA:FALSE"))
}

/// Creates a self-signed certificate.
fn create(path: &Path, names: &str) -> Result<()> {
    if let Some(directory) = path.parent()
        && let Err(error) = fs::create_dir(directory)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot create {}", directory.display()));
    }
    let mut request = openssl(&REQUEST);
    // Key and certificate go to stdout, so that the key is never in a file with the wrong mode.
    request.args(["-days", LIFETIME_DAYS, "-config", "/dev/stdin", "-keyout", "-", "-out", "-"]);
    let pair = cmd::stdout_with_input(&mut request, configuration(names).as_bytes())?;
    atomic::write(path, pair.as_bytes(), WriteOptions::durable(0o600))
}

/// Returns openssl's configuration for a certificate of this server, whose key cannot sign other certificates.
///
/// The option `-addext` would add to the extensions in the distribution's configuration, with some versions twice.
fn configuration(names: &str) -> String {
    format!(
        "[req]\nprompt = no\ndistinguished_name = name\nx509_extensions = leaf\n[name]\nCN = leonardo\n[leaf]\n\
         basicConstraints = critical, CA:FALSE\nkeyUsage = critical, digitalSignature\nextendedKeyUsage = serverAuth\n\
         subjectKeyIdentifier = hash\nsubjectAltName = {names}\n"
    )
}

fn openssl(words: &[&str]) -> Command {
    let mut command = Command::new("/usr/bin/openssl");
    command.args(words).env_clear();
    command
}

/// Returns the alternative names of this container, including public ones.
fn container_names(public: &[String]) -> String {
    let host = gethostname().unwrap_or_default();
    let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    });
    alternative_names(&host, addresses, public)
}

/// Returns the value of subjectAltName; texts that are neither an address nor a host name are skipped.
fn alternative_names(host: &OsStr, addresses: impl Iterator<Item = IpAddr>, public: &[String]) -> String {
    let always = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    let texts = always
        .into_iter()
        .chain([host.to_string_lossy().into_owned()])
        .chain(addresses.map(|address| address.to_string()))
        .chain(public.iter().cloned());
    let mut names: Vec<String> = Vec::new();
    for text in texts {
        let name = match text.trim_matches(['[', ']']).parse::<IpAddr>() {
            Ok(address) => format!("IP:{address}"),
            Err(_) if is_host_name(&text) => format!("DNS:{}", text.to_ascii_lowercase()),
            Err(_) => continue,
        };
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names.join(",")
}

fn is_host_name(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
    !text.is_empty() && text.len() <= 253 && !text.starts_with(['.', '-']) && text.bytes().all(plain)
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "DNS:localhost,IP:127.0.0.1,IP:::1,DNS:lab.example";

    fn inspect(words: &[&str], path: &Path) -> String {
        cmd::stdout(openssl(words).arg(path)).unwrap()
    }

    #[test]
    fn a_certificate_is_for_this_server_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls/pair.pem");
        create(&path, NAMES).unwrap();
        assert!(is_usable(&path));
        let text = inspect(&["x509", "-noout", "-text", "-in"], &path);
        let (_, extensions) = text.split_once("X509v3 extensions:").unwrap();
        let (extensions, _) = extensions.split_once("Signature Algorithm").unwrap();
        let lines: Vec<&str> = extensions.lines().map(str::trim).collect();
        for pair in [
            ["X509v3 Basic Constraints: critical", "CA:FALSE"],
            ["X509v3 Key Usage: critical", "Digital Signature"],
            ["X509v3 Extended Key Usage:", "TLS Web Server Authentication"],
            [
                "X509v3 Subject Alternative Name:",
                "DNS:localhost, IP Address:127.0.0.1, IP Address:0:0:0:0:0:0:0:1, DNS:lab.example",
            ],
        ] {
            assert_eq!(lines.iter().filter(|line| **line == pair[0]).count(), 1, "once: {extensions}");
            assert!(lines.windows(2).any(|window| window == pair), "{pair:?} in {extensions}");
        }
        assert!(text.contains("Subject: CN = leonardo") || text.contains("Subject: CN=leonardo"), "{text}");
        let trusted = path.to_str().unwrap();
        let verify =
            ["verify", "-purpose", "sslserver", "-verify_hostname", "lab.example", "-CAfile", trusted];
        assert!(inspect(&verify, &path).ends_with(": OK\n"));
    }

    #[test]
    fn the_key_cannot_sign_other_certificates() {
        let dir = tempfile::tempdir().unwrap();
        let (pair, other) = (dir.path().join("pair.pem"), dir.path().join("other.pem"));
        create(&pair, NAMES).unwrap();
        let at = pair.to_str().unwrap();
        let mut sign = openssl(&REQUEST);
        sign.args(["-subj", "/CN=evil.example", "-CA", at, "-CAkey", at, "-keyout", "/dev/null", "-out"]);
        cmd::run(sign.arg(&other)).unwrap();
        let error = cmd::run(openssl(&["verify", "-CAfile", at]).arg(&other)).unwrap_err().to_string();
        assert!(error.contains("verification failed"), "{error}");
    }

    #[test]
    fn an_expiring_certificate_or_one_that_can_sign_is_not_usable() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pair.pem");
        for (days, constraint, good) in
            [("825", "CA:TRUE", false), ("29", "CA:FALSE", false), ("31", "CA:FALSE", true)]
        {
            let mut command = openssl(&REQUEST);
            let constraint = configuration(NAMES).replace("CA:FALSE", constraint);
            command.args(["-days", days, "-config", "/dev/stdin", "-keyout", "-", "-out", "-"]);
            fs::write(&path, cmd::stdout_with_input(&mut command, constraint.as_bytes()).unwrap()).unwrap();
            assert_eq!(is_usable(&path), good, "{days} {constraint}");
        }
        assert!(!is_usable(&dir.path().join("none")));
        fs::write(&path, "no certificate").unwrap();
        assert!(!is_usable(&path));
    }

    #[test]
    fn alternative_names_are_unique_and_valid() {
        let addresses = ["127.0.0.1", "172.17.0.2", "fe80::1"].map(|text| text.parse().unwrap());
        let public =
            ["192.0.2.9", "[2001:db8::1]", "Lab.example", "x,DNS:evil", "a b", "-x"].map(String::from);
        assert_eq!(
            alternative_names(OsStr::new("0f3c"), addresses.into_iter(), &public),
            "DNS:localhost,IP:127.0.0.1,IP:::1,DNS:0f3c,IP:172.17.0.2,IP:fe80::1,IP:192.0.2.9,IP:2001:db8::1,DNS:lab.example"
        );
    }
}
