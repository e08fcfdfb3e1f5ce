//! The network to which a session is bound.

use std::net::{IpAddr, Ipv4Addr};

/// Returns the network of an address: the part that stays the same when a household or company gets a new address.
pub fn session_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        // A browser on this machine may use either family.
        address if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        address => cloud::network_of(address, 24, 64),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_24_or_a_64_and_loopback_is_one() {
        for (address, expected) in [
            ("192.0.2.77", "192.0.2.0"),
            ("::ffff:192.0.2.77", "192.0.2.0"),
            ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"),
            ("127.0.0.2", "127.0.0.1"),
            ("::1", "127.0.0.1"),
        ] {
            assert_eq!(
                session_network(address.parse().unwrap()),
                expected.parse::<IpAddr>().unwrap(),
                "{address}"
            );
        }
    }
}
