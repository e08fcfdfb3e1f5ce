//! The certificate for https: the mounted one as `init` left it, else one that is signed by itself.

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

/// Where `init` puts a mounted certificate, with its key in the same file: one file is replaced at once.
const MOUNTED: &str = "/var/lib/caddy-tls/pair.pem";
/// Our own, with its key; kept over restarts, because browsers remember it.
const SELF_SIGNED: &str = "/var/lib/caddy/tls/self-signed.pem";
const REQUEST: [&str; 7] =
    ["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
/// Days that a browser still takes from a certificate of one's own.
const DAYS: &str = "825";
/// A certificate that ends sooner is made anew; in seconds, thirty days.
const ENDS_SOON: &str = "2592000";
/// A pair of ours is a hundredth of this, in bytes.
const LARGEST: u64 = 128_000;

/// Returns the file with certificate and key: the mounted one if Caddy can use it, else a self-signed one, with the reason.
/// `public` are the names and addresses at which the world knows this container.
pub fn certificate_file(public: &[String]) -> Result<(PathBuf, Option<String>)> {
    let path = path();
    if path == Path::new(SELF_SIGNED) {
        return Ok((self_signed(public)?, None));
    }
    let Err(error) = check(&path) else { return Ok((path, None)) };
    let words = caddy_error::extract_message(&format!("{error:#}"));
    let Some((_, words)) = words.rsplit_once("loading certificates: ") else {
        // A full disk or too little memory says nothing about the certificate.
        log::warn!("the mounted certificate is not checked: {words}");
        return Ok((path, None));
    };
    let problem =
        format!("Caddy cannot use the mounted certificate: {words}; https uses a self-signed certificate");
    Ok((self_signed(public)?, Some(problem)))
}

/// Asks Caddy about a certificate: it knows fewer kinds of keys than openssl. Nothing is asked on the network (OCSP).
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

/// Makes a self-signed pair unless there is a good one.
fn self_signed(public: &[String]) -> Result<PathBuf> {
    let path = PathBuf::from(SELF_SIGNED);
    if is_good(&path) {
        return Ok(path);
    }
    let names = names(public);
    let path = match make(&path, &names) {
        Ok(()) => path,
        Err(error) => {
            // Without any, nobody gets in.
            log::warn!("{error:#}; the certificate ends with the container");
            let other = Path::new(caddy::RUNTIME_DIRECTORY).join("self-signed.pem");
            make(&other, &names).context("cannot make a self-signed certificate")?;
            other
        }
    };
    log::info!("made a self-signed certificate: {}", path.display());
    Ok(path)
}

/// Where the pair is, or will be.
pub fn path() -> PathBuf {
    let mounted = Path::new(MOUNTED);
    if mounted.exists() { mounted.to_owned() } else { SELF_SIGNED.into() }
}

/// True if the certificate does not end soon and is none of an earlier version, which could sign others.
fn is_good(path: &Path) -> bool {
    let Ok(pair) = ReadPolicy::max_size(LARGEST).read(path) else { return false };
    let mut look = openssl(&["x509", "-noout", "-checkend", ENDS_SOON, "-ext", "basicConstraints"]);
    cmd::stdout_with_input(&mut look, &pair).is_ok_and(|text| text.contains("CA:FALSE"))
}

fn make(path: &Path, names: &str) -> Result<()> {
    if let Some(directory) = path.parent()
        && let Err(error) = fs::create_dir(directory)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot create {}", directory.display()));
    }
    let mut request = openssl(&REQUEST);
    // Both to stdout: the key never is in a file that others could read for a moment.
    request.args(["-days", DAYS, "-config", "/dev/stdin", "-keyout", "-", "-out", "-"]);
    let pair = cmd::stdout_with_input(&mut request, configuration(names).as_bytes())?;
    atomic::write(path, pair.as_bytes(), WriteOptions::durable(0o600))
}

/// Returns openssl's configuration: who trusts the certificate trusts this server, and no other that its key would sign for.
///
/// Not `-addext`: beside the extensions of the distribution's configuration, some versions add the same one twice.
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

/// This container's names and addresses, those of the world included.
fn names(public: &[String]) -> String {
    let host = gethostname().unwrap_or_default();
    let addresses = getifaddrs().into_iter().flatten().filter_map(|interface| {
        let address = interface.address?;
        let v4 = address.as_sockaddr_in().map(|address| IpAddr::from(address.ip()));
        v4.or_else(|| address.as_sockaddr_in6().map(|address| IpAddr::from(address.ip())))
    });
    alternative_names(&host, addresses, public)
}

/// The value of a certificate's subjectAltName; what is neither an address nor a plain host name is left out.
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

    fn says(words: &[&str], path: &Path) -> String {
        cmd::stdout(openssl(words).arg(path)).unwrap()
    }

    #[test]
    fn a_certificate_vouches_for_this_server_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("tls/pair.pem");
        make(&path, NAMES).unwrap();
        assert!(is_good(&path));
        let text = says(&["x509", "-noout", "-text", "-in"], &path);
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
        assert!(says(&verify, &path).ends_with(": OK\n"));
    }

    #[test]
    fn its_key_signs_for_nobody_else() {
        let dir = tempfile::tempdir().unwrap();
        let (pair, other) = (dir.path().join("pair.pem"), dir.path().join("other.pem"));
        make(&pair, NAMES).unwrap();
        let at = pair.to_str().unwrap();
        let mut sign = openssl(&REQUEST);
        sign.args(["-subj", "/CN=evil.example", "-CA", at, "-CAkey", at, "-keyout", "/dev/null", "-out"]);
        cmd::run(sign.arg(&other)).unwrap();
        let error = cmd::run(openssl(&["verify", "-CAfile", at]).arg(&other)).unwrap_err().to_string();
        assert!(error.contains("verification failed"), "{error}");
    }

    #[test]
    fn a_pair_of_an_earlier_version_or_one_that_ends_soon_is_made_anew() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("pair.pem");
        for (days, constraint, good) in
            [("825", "CA:TRUE", false), ("29", "CA:FALSE", false), ("31", "CA:FALSE", true)]
        {
            let mut command = openssl(&REQUEST);
            let constraint = configuration(NAMES).replace("CA:FALSE", constraint);
            command.args(["-days", days, "-config", "/dev/stdin", "-keyout", "-", "-out", "-"]);
            fs::write(&path, cmd::stdout_with_input(&mut command, constraint.as_bytes()).unwrap()).unwrap();
            assert_eq!(is_good(&path), good, "{days} {constraint}");
        }
        assert!(!is_good(&dir.path().join("none")));
        fs::write(&path, "no certificate").unwrap();
        assert!(!is_good(&path));
    }

    #[test]
    fn a_certificate_names_the_container_once_and_nothing_else() {
        let addresses = ["127.0.0.1", "172.17.0.2", "fe80::1"].map(|text| text.parse().unwrap());
        let public =
            ["192.0.2.9", "[2001:db8::1]", "Lab.example", "x,DNS:evil", "a b", "-x"].map(String::from);
        assert_eq!(
            alternative_names(OsStr::new("0f3c"), addresses.into_iter(), &public),
            "DNS:localhost,IP:127.0.0.1,IP:::1,DNS:0f3c,IP:172.17.0.2,IP:fe80::1,IP:192.0.2.9,IP:2001:db8::1,DNS:lab.example"
        );
    }
}
