//! The network to which a session is bound.

use std::net::{IpAddr, Ipv4Addr};

/// The network of an address: what stays the same when a household or a company gets another one.
pub fn session_network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        // A browser on this machine may use either.
        address if address.is_loopback() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & !0xff).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_what_a_household_keeps() {
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
