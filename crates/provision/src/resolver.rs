//! Name resolution by getent(1).
//!
//! A static program loads the libraries that `nsswitch.conf` names, and crashes on those of another glibc. The image's own
//! program does not, and a process can be killed at its deadline.
//!
//! The only file that uses `ureq::unversioned`, which may change with a minor version of ureq.

use std::io::Read;
use std::net::{IpAddr, SocketAddr};
use std::process::{Child, Command, Stdio};

use kit::wait;
use ureq::config::Config;
use ureq::http::Uri;
use ureq::unversioned::resolver::{ResolvedSocketAddrs, Resolver};
use ureq::unversioned::transport::{DefaultConnector, NextTimeout};
use ureq::{Agent, Error};

/// `getent ahosts` prints one address a line, followed by the kind of socket.
const PROGRAM: &str = "/usr/bin/getent";
/// Capacity of ureq's list.
const MAX_ADDRESSES: usize = 16;

/// Returns an agent that resolves names by getent.
pub fn agent(config: Config) -> Agent {
    Agent::with_parts(config, DefaultConnector::default(), Getent)
}

#[derive(Debug)]
struct Getent;

impl Resolver for Getent {
    fn resolve(&self, uri: &Uri, _: &Config, timeout: NextTimeout) -> Result<ResolvedSocketAddrs, Error> {
        let host = uri.host().ok_or(Error::HostNotFound)?;
        let port = uri.port_u16().unwrap_or_else(|| default_port(uri));
        let mut found = self.empty();
        let literal = host.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>();
        let addresses = match literal {
            Ok(address) => vec![address],
            Err(_) => run_getent(host, &timeout)?,
        };
        for address in addresses.into_iter().take(MAX_ADDRESSES) {
            found.push(SocketAddr::new(address, port));
        }
        if found.is_empty() { Err(Error::HostNotFound) } else { Ok(found) }
    }
}

fn default_port(uri: &Uri) -> u16 {
    match uri.scheme_str() {
        Some("https") => 443,
        Some(socks) if socks.starts_with("socks") => 1_080,
        _ => 80,
    }
}

fn run_getent(host: &str, timeout: &NextTimeout) -> Result<Vec<IpAddr>, Error> {
    if host.starts_with('-') {
        return Err(Error::HostNotFound);
    }
    let mut command = Command::new(PROGRAM);
    command.args(["ahosts", host]).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = KilledOnDrop(command.spawn()?);
    // Its output fits into a pipe, so it ends without being read.
    let status = wait::until(*timeout.after, PROGRAM, || child.0.try_wait().transpose());
    let status = status.map_err(|_| Error::Timeout(timeout.reason))??;
    let mut text = String::new();
    if let Some(mut output) = child.0.stdout.take() {
        output.read_to_string(&mut text)?;
    }
    if status.success() { Ok(addresses(&text)) } else { Err(Error::HostNotFound) }
}

struct KilledOnDrop(Child);

impl Drop for KilledOnDrop {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Returns the first word of each line, without repetitions: each address has a line for every kind of socket.
fn addresses(text: &str) -> Vec<IpAddr> {
    let mut found = Vec::new();
    for address in text.lines().filter_map(|line| line.split_whitespace().next()?.parse().ok()) {
        if !found.contains(&address) {
            found.push(address);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_address_is_taken_once_in_the_order_in_which_it_came() {
        let text = "::1             STREAM localhost\n::1             DGRAM\n127.0.0.1 STREAM\n127.0.0.1 \
                    RAW\nfe80::1%eth0 RAW\n";
        assert_eq!(addresses(text), ["::1".parse::<IpAddr>().unwrap(), "127.0.0.1".parse().unwrap()]);
        assert!(addresses("").is_empty());
    }

    #[test]
    fn a_port_that_is_not_named_is_the_schemes() {
        let port = |uri: &str| default_port(&uri.parse().unwrap());
        assert_eq!([port("http://h"), port("https://h"), port("socks5://h")], [80, 443, 1_080]);
    }
}
