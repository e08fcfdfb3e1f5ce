//! Bytes received and sent in the container's network namespace.

use serde::Serialize;

use crate::kernel_files::KernelFiles;

/// Interfaces whose bytes another interface counts too: bridges, their ports, and tunnels.
const INNER: [&str; 11] =
    ["veth", "docker", "br-", "virbr", "cni", "cali", "flannel", "tun", "tap", "wg", "tailscale"];

/// Bytes received and sent; loopback is not counted.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Network {
    /// Bytes received; grows.
    pub received: Option<u64>,
    /// Bytes sent; grows.
    pub sent: Option<u64>,
    /// Bytes received in a second, since the last sample.
    pub received_rate: Option<f64>,
    /// Bytes sent in a second, since the last sample.
    pub sent_rate: Option<f64>,
}

/// Reads the counters.
pub fn read(files: &KernelFiles) -> Network {
    let counted = files.text("proc/net/dev").and_then(|text| parse(&text));
    Network {
        received: counted.map(|(received, _)| received),
        sent: counted.map(|(_, sent)| sent),
        ..Network::default()
    }
}

/// Adds up the interfaces of `/proc/net/dev`; `None` if there is none but loopback. Inner ones count if there are no others:
/// rootless engines connect a container by nothing but `tap0`.
fn parse(text: &str) -> Option<(u64, u64)> {
    let (mut outer, mut inner) = (None, None);
    for (name, numbers) in text.lines().filter_map(|line| line.split_once(':')) {
        let mut numbers = numbers.split_ascii_whitespace().map(|word| word.parse::<u64>().ok());
        let (received, sent) = (numbers.next().flatten(), numbers.nth(7).flatten());
        let is_inner = INNER.iter().any(|inner| name.trim().starts_with(inner));
        let sum: &mut Option<(u64, u64)> = if is_inner { &mut inner } else { &mut outer };
        if let (false, Some((received, sent))) = (name.trim() == "lo", received.zip(sent)) {
            let (before, after) = sum.unwrap_or_default();
            *sum = Some((before.saturating_add(received), after.saturating_add(sent)));
        }
    }
    outer.or(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_added_without_loopback_and_bridges() {
        let head = "Inter-|   Receive                                                |  Transmit\n face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n";
        let lo = "    lo:     900       9    0    0    0     0          0         0      900       9    0    0    0     0       0          0\n";
        let eth = "  eth0:     736       8    0    0    0     0          0         0       42       1    0    0    0     0       0          0\n";
        let old = "  eth1:4294967296 8 0 0 0 0 0 0 5 1 0 0 0 0 0 0\n";
        let bridge = eth.replace("eth0", "docker0");
        assert_eq!(parse(&format!("{head}{lo}{eth}{old}{bridge}")), Some((4_294_968_032, 47)));
        assert_eq!(parse(&format!("{head}{lo}")), None, "no network");
        let tap = eth.replace("eth0", "tap0");
        assert_eq!(parse(&format!("{head}{lo}{tap}")), Some((736, 42)), "a rootless engine");
        assert_eq!(parse("eth0: 1 2 3\neth0: a b c d e f g h i\n\n:\n"), None);
    }
}
