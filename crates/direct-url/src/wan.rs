//! The public address of this machine, from outside.

use std::io::Read;
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use kit::atomic::{self, WriteOptions};

/// An address instead of a name: it needs no resolver.
const SERVICE: &str = "https://1.1.1.1/cdn-cgi/trace";

/// `--disable` is only effective as the first option: no `.curlrc`.
const ARGUMENTS: [&str; 8] =
    ["--disable", "--fail", "--silent", "--show-error", "--proto", "=https", "--max-time", "10"];

/// Maximum size of the answer in bytes.
const MAX_BYTES: u64 = 4096;

/// Maximum pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_mins(10);

/// Asks until there is an answer, and writes it to `file`. The first failure is a warning; pauses double from `pause`.
pub fn find(curl: &Path, file: &Path, mut pause: Duration) {
    let mut has_failed = false;
    while let Err(error) = query(curl).and_then(|address| write(file, address)) {
        if !has_failed {
            log::warn!("cannot find the public address of this machine: {error:#}; trying again");
        }
        has_failed = true;
        // Not synchronization: the pause spares the service.
        thread::sleep(pause);
        pause = (pause * 2).min(MAX_PAUSE);
    }
}

fn query(curl: &Path) -> Result<IpAddr> {
    let mut command = Command::new(curl);
    command.args(ARGUMENTS).arg(SERVICE).env_clear();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().with_context(|| format!("cannot run {}", curl.display()))?;
    let mut answer = Vec::new();
    if let Some(output) = child.stdout.take() {
        // curl fails if it has more, because the pipe is closed then.
        output.take(MAX_BYTES).read_to_end(&mut answer).context("cannot read the answer")?;
    }
    let status = child.wait().context("cannot wait for curl")?;
    ensure!(status.success(), "{SERVICE} does not answer (curl: {status})");
    parse(&answer).with_context(|| format!("the answer of {SERVICE} contains no public address"))
}

fn write(file: &Path, address: IpAddr) -> Result<()> {
    atomic::write(file, format!("{address}\n").as_bytes(), WriteOptions::volatile(0o644))?;
    log::info!("the public address of this machine is {address}");
    Ok(())
}

/// Returns the address in the line `ip=…`, if it is a public one.
fn parse(answer: &[u8]) -> Option<IpAddr> {
    let address = str::from_utf8(answer).ok()?.lines().find_map(|line| line.strip_prefix("ip="))?;
    address.parse().ok().filter(is_public)
}

fn is_public(address: &IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => {
            let shared = address.to_bits() & 0xffc0_0000 == Ipv4Addr::new(100, 64, 0, 0).to_bits();
            !(shared
                || address.is_private()
                || address.is_loopback()
                || address.is_link_local()
                || address.is_unspecified()
                || address.is_multicast()
                || address.is_broadcast())
        }
        // Global unicast addresses (RFC 4291).
        IpAddr::V6(address) => address.segments()[0] >> 13 == 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_public_address_counts() {
        let address = |text: &str| parse(text.as_bytes()).map(|address| address.to_string());
        let answer = "fl=1\nh=1.1.1.1\nip=198.51.100.4\nts=1\n";
        assert_eq!(address(answer).as_deref(), Some("198.51.100.4"));
        assert_eq!(address("ip=2001:db8::1\n").as_deref(), Some("2001:db8::1"));
        for other in [
            "10.0.0.1",
            "172.16.0.1",
            "192.168.1.1",
            "127.0.0.1",
            "169.254.1.1",
            "100.64.0.1",
            "0.0.0.0",
            "224.0.0.1",
            "255.255.255.255",
            "::1",
            "fd00::1",
            "fe80::1",
            "evil.example",
            "198.51.100.4@evil",
            "",
        ] {
            assert_eq!(address(&format!("ip={other}\n")), None, "{other}");
        }
        assert_eq!(parse(b"ip=\xff"), None);
    }
}
