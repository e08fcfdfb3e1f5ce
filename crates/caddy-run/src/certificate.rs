//! The certificate for https: the mounted one as `init` left it, else one that is signed by itself.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};
use kit::atomic::{self, Placement};
use kit::cmd;
use nix::ifaddrs::getifaddrs;
use nix::unistd::gethostname;

use crate::{caddy, complaint};

/// Where `init` puts a mounted certificate, with its key in the same file: one file is replaced at once.
const MOUNTED: &str = "/var/lib/caddy-tls/pair.pem";
/// Our own, with its key; kept over restarts, because browsers remember it.
const SELF_SIGNED: &str = "/var/lib/caddy/tls/self-signed.pem";
/// Days that a browser still takes from a certificate of one's own.
const DAYS: &str = "825";
/// A certificate that ends sooner is made anew; in seconds, thirty days.
const ENDS_SOON: &str = "2592000";

/// Returns the file with certificate and key: the mounted one if Caddy can use it, else a self-signed one, with the reason.
/// `public` are the names and addresses at which the world knows this container.
pub fn pair(public: &[String]) -> Result<(PathBuf, Option<String>)> {
    let path = path();
    if path == Path::new(SELF_SIGNED) {
        return Ok((self_signed(public)?, None));
    }
    let Err(error) = check(&path) else { return Ok((path, None)) };
    let words = complaint::words(&format!("{error:#}"));
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
    let scratch = tempfile::tempdir_in(caddy::DIRECTORY)?;
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
            let other = Path::new(caddy::DIRECTORY).join("self-signed.pem");
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

fn is_good(path: &Path) -> bool {
    let mut check = openssl(&["x509", "-noout", "-checkend", ENDS_SOON, "-in"]);
    path.exists() && cmd::run(check.arg(path)).is_ok()
}

fn make(path: &Path, names: &str) -> Result<()> {
    if let Some(directory) = path.parent()
        && let Err(error) = fs::create_dir(directory)
        && error.kind() != io::ErrorKind::AlreadyExists
    {
        return Err(error).with_context(|| format!("cannot create {}", directory.display()));
    }
    let names = format!("subjectAltName={names}");
    let mut request =
        openssl(&["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]);
    // Both to stdout: the key never is in a file that others could read for a moment.
    request.args(["-days", DAYS, "-subj", "/CN=leonardo", "-addext", &names, "-keyout", "-", "-out", "-"]);
    let pair = cmd::stdout(&mut request)?;
    atomic::write(path, pair.as_bytes(), Placement::durable(0o600))
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
