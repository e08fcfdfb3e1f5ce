//! Networks of proxies whose word about a visitor counts.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kit::{Env, Problem};

/// The setting that adds networks to those that are always trusted.
pub const TRUSTED_PROXIES: &str = "WEB_TRUSTED_PROXIES";

/// Programs inside, such as cloudflared, which connects from loopback.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// An address and the number of its bits that count; what is displayed is made of these two and nothing else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads `192.0.2.0/24`, `2001:db8::/32` or a single address; nothing if it is none.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            // "+8" and "08" are numbers to a parser, but no network that anybody would write.
            Some("0") => 0,
            Some(bits) if bits.starts_with(|first: char| !matches!(first, '1'..='9')) => return None,
            Some(bits) => bits.parse().ok().filter(|&bits| bits <= most)?,
            None => most,
        };
        Some(Self { address: masked(address, bits), bits })
    }
}

impl fmt::Display for Network {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

fn masked(address: IpAddr, bits: u8) -> IpAddr {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            Ipv4Addr::from_bits(address.to_bits() & mask).into()
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            Ipv6Addr::from_bits(address.to_bits() & mask).into()
        }
    }
}

/// The networks of all proxies that may say who a visitor is and how he came: loopback, the provider's, the user's.
///
/// A word of the setting that is no network is left out and named.
#[must_use]
pub fn trusted_proxies(env: &Env) -> (Vec<Network>, Vec<Problem>) {
    let own = LOOPBACK.iter().chain(crate::detect(env).proxies());
    let mut networks: Vec<Network> = own.filter_map(|text| Network::parse(text)).collect();
    let mut problems = Vec::new();
    let separator = |character: char| character.is_whitespace() || character == ',';
    let value = env.text(TRUSTED_PROXIES).unwrap_or_default();
    for word in value.split(separator).filter(|word| !word.is_empty()) {
        let refusal = match Network::parse(word) {
            // Any visitor could choose the address that is taken for theirs, and so escape the limit of wrong logins.
            Some(Network { bits: 0, .. }) => "contains every address, and trusting all visitors is refused",
            Some(network) => {
                networks.push(network);
                continue;
            }
            None => "is not an IP network such as 192.0.2.0/24",
        };
        problems.push(Problem::new(TRUSTED_PROXIES, format!("{word:?} {refusal}; it is left out")));
    }
    networks.sort_unstable();
    networks.dedup();
    (networks, problems)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn trusted(pairs: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let (networks, problems) = trusted_proxies(&pairs.iter().copied().collect());
        let texts = networks.iter().map(ToString::to_string).collect();
        (texts, problems.iter().map(ToString::to_string).collect())
    }

    #[test]
    fn a_network_is_an_address_with_a_length_and_nothing_else() {
        for (given, shown) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
        ] {
            assert_eq!(Network::parse(given).map(|network| network.to_string()).as_deref(), Some(shown));
        }
        for wrong in [
            "",
            "/",
            "10.0.0.0/",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/+8",
            "10.0.0.0/08",
            "10.0.0.0/00",
            "10.0.0.0/8/8",
            "10.0.0",
            "010.0.0.1",
            "fe80::1%eth0",
            "private_ranges",
            "10.0.0.0/8}",
            "{env.X}",
            "a.example",
        ] {
            assert_eq!(Network::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn nobody_can_trust_everybody_by_mistake() {
        let everybody = ["0.0.0.0/0", "::/0", "192.0.2.1/0"];
        let (networks, problems) = trusted(&[(TRUSTED_PROXIES, &everybody.join(" "))]);
        assert_eq!(networks, LOOPBACK);
        assert_eq!(
            problems,
            everybody.map(|word| format!(
                "WEB_TRUSTED_PROXIES: {word:?} contains every address, and trusting all visitors is refused; it is left out"
            ))
        );
    }

    #[test]
    fn loopback_is_always_trusted_and_a_bad_word_is_named_and_left_out() {
        let loopback = ["127.0.0.0/8", "::1/128"];
        assert_eq!(trusted(&[]), (loopback.map(String::from).into(), vec![]));
        let (networks, problems) = trusted(&[(TRUSTED_PROXIES, " 10.0.0.0/8,\n10.0.0.0/8 }\n:6666 ")]);
        assert_eq!(networks, ["10.0.0.0/8", "127.0.0.0/8", "::1/128"]);
        assert_eq!(
            problems,
            ["}", ":6666"].map(|word| format!(
                "WEB_TRUSTED_PROXIES: {word:?} is not an IP network such as 192.0.2.0/24; it is left out"
            ))
        );
    }

    #[test]
    fn behind_the_proxy_of_runpod_private_addresses_are_trusted() {
        let (networks, problems) = trusted(&[("RUNPOD_POD_ID", "abc")]);
        assert_eq!(problems, [""; 0]);
        assert_eq!(
            networks,
            [
                "10.0.0.0/8",
                "100.64.0.0/10",
                "127.0.0.0/8",
                "172.16.0.0/12",
                "192.168.0.0/16",
                "::1/128",
                "fc00::/7"
            ]
        );
    }
}
