//! Networks of proxies whose forwarded headers are trusted.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use kit::{Env, Problem};

/// Setting with additional trusted networks.
pub const TRUSTED_PROXIES: &str = "WEB_TRUSTED_PROXIES";

/// Loopback, for local programs such as cloudflared.
const LOOPBACK: [&str; 2] = ["127.0.0.0/8", "::1/128"];

/// IPv6 networks without visitors from the internet.
const LOCAL: [&str; 2] = ["fc00::/7", "fe80::/10"];

/// First IPv4-mapped IPv6 address.
const MAPPED: IpAddr = IpAddr::V6(Ipv4Addr::UNSPECIFIED.to_ipv6_mapped());

/// An address and its prefix length; the text form is built from these two alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct IpNetwork {
    address: IpAddr,
    bits: u8,
}

impl IpNetwork {
    /// Parses `192.0.2.0/24`, `2001:db8::/32` or a single address. An IPv4-mapped network (`::ffff:192.0.2.0/120`)
    /// becomes the IPv4 network: visitors have no such addresses.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = match bits {
            // "+8" and "08" parse as numbers, but are not network prefixes.
            Some("0") => 0,
            Some(bits) if bits.starts_with(|first: char| !matches!(first, '1'..='9')) => return None,
            Some(bits) => bits.parse().ok().filter(|&bits| bits <= most)?,
            None => most,
        };
        let (address, bits) = match address {
            IpAddr::V6(mapped) if bits >= 96 => match mapped.to_ipv4_mapped() {
                Some(address) => (address.into(), bits - 96),
                None => (address, bits),
            },
            _ => (address, bits),
        };
        Some(Self { address: masked(address, bits), bits })
    }

    /// True if it contains `other`.
    fn contains(self, other: Self) -> bool {
        self.bits <= other.bits && self.address == masked(other.address, self.bits)
    }

    /// Returns the reason if the network has too many visitors of the internet to be trusted.
    fn too_large_reason(self) -> Option<&'static str> {
        let is_local = LOCAL.iter().filter_map(|text| Self::parse(text)).any(|local| local.contains(self));
        match self.address {
            IpAddr::V4(_) => (self.bits < 8).then_some("is larger than a /8"),
            IpAddr::V6(_) if self.bits < 16 => (!is_local).then_some("is larger than a /16"),
            IpAddr::V6(_) => {
                let has_mapped = self.bits < 96 && self.address == masked(MAPPED, self.bits);
                has_mapped.then_some("has every IPv4 address")
            }
        }
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", self.address, self.bits)
    }
}

/// Returns the network of an address: its first bits, `v4_bits` if it is IPv4, mapped or not, and else `v6_bits`.
#[must_use]
pub fn network_of(address: IpAddr, v4_bits: u8, v6_bits: u8) -> IpAddr {
    let address = address.to_canonical();
    masked(address, if address.is_ipv4() { v4_bits } else { v6_bits })
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

/// Consequence of trusting too much: a visitor escapes the rate limit of logins.
const CONSEQUENCE: &str = "visitors from these networks could spoof the address used for rate limiting";

/// Returns the networks of all proxies whose forwarded headers are trusted: loopback, the provider's, the user's.
///
/// An entry of the setting that is not a network, or a very large one, is reported and ignored. If the others together are
/// a large part of the internet, all are ignored.
#[must_use]
pub fn trusted_proxies(env: &Env) -> (Vec<IpNetwork>, Vec<Problem>) {
    let (mut networks, mut problems) = (Vec::new(), Vec::new());
    let mut problem = |message| problems.push(Problem::new(TRUSTED_PROXIES, message));
    let separator = |character: char| character.is_whitespace() || character == ',';
    let value = env.text(TRUSTED_PROXIES).unwrap_or_default();
    for word in value.split(separator).filter(|word| !word.is_empty()) {
        match IpNetwork::parse(word).map(|network| (network, network.too_large_reason())) {
            Some((network, None)) => networks.push(network),
            Some((_, Some(excess))) => problem(format!("{word:?} {excess}: {CONSEQUENCE}; ignored")),
            None => problem(format!("{word:?} is not an IP network such as 192.0.2.0/24; ignored")),
        }
    }
    if let Some(family) = largely_covered(&mut networks) {
        networks.clear();
        problem(format!(
            "the networks together are more than 1/16 of the {family} internet: {CONSEQUENCE}; all are ignored"
        ));
    }
    let own = LOOPBACK.iter().chain(crate::detect(env).proxies());
    networks.extend(own.filter_map(|text| IpNetwork::parse(text)));
    networks.sort_unstable();
    networks.dedup();
    (networks, problems)
}

/// Returns the address family if the networks cover more than 1/16 of it: of all IPv4 addresses, or of `2000::/3`, the
/// IPv6 internet.
fn largely_covered(networks: &mut [IpNetwork]) -> Option<&'static str> {
    // Sorted, a network follows the one that contains it; overlapping networks always contain one another.
    networks.sort_unstable();
    let mut last: Option<IpNetwork> = None;
    let (mut ipv4, mut ipv6) = (0_u64, 0_u128);
    for &network in networks.iter() {
        if last.is_some_and(|last| last.contains(network)) {
            continue;
        }
        last = Some(network);
        match network.address {
            IpAddr::V4(_) => ipv4 += 1 << (32 - network.bits),
            IpAddr::V6(address) if address.segments()[0] >> 13 == 1 => ipv6 += 1 << (128 - network.bits),
            IpAddr::V6(_) => {}
        }
    }
    if ipv4 > 1 << 28 {
        Some("IPv4")
    } else if ipv6 > 1 << 121 {
        Some("IPv6")
    } else {
        None
    }
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
    fn an_address_has_one_network_however_it_is_written() {
        for (address, v4_bits, v6_bits, network) in [
            ("192.0.2.77", 24, 48, "192.0.2.0"),
            ("::ffff:192.0.2.77", 24, 48, "192.0.2.0"),
            ("192.0.2.77", 32, 64, "192.0.2.77"),
            ("192.0.2.77", 0, 0, "0.0.0.0"),
            ("2001:db8:1:2:3:4:5:6", 24, 48, "2001:db8:1::"),
            ("2001:db8:1:2:3:4:5:6", 32, 64, "2001:db8:1:2::"),
        ] {
            let found = network_of(address.parse().unwrap(), v4_bits, v6_bits);
            assert_eq!(found, network.parse::<IpAddr>().unwrap(), "{address}");
        }
    }

    #[test]
    fn a_network_is_an_address_with_a_length_and_nothing_else() {
        for (given, shown) in [
            ("192.0.2.7", "192.0.2.7/32"),
            ("10.1.2.3/8", "10.0.0.0/8"),
            ("2001:DB8::1/32", "2001:db8::/32"),
            ("::1", "::1/128"),
            ("::ffff:10.1.2.3", "10.1.2.3/32"),
            ("::ffff:10.1.2.3/104", "10.0.0.0/8"),
        ] {
            assert_eq!(IpNetwork::parse(given).map(|network| network.to_string()).as_deref(), Some(shown));
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
            assert_eq!(IpNetwork::parse(wrong), None, "{wrong:?}");
        }
    }

    #[test]
    fn a_very_large_network_is_left_out_however_it_is_written() {
        for (word, limit) in [
            ("0.0.0.0/0", 8),
            ("192.0.2.1/0", 8),
            ("0.0.0.0/1", 8),
            ("10.0.0.0/7", 8),
            ("::/0", 16),
            ("::/1", 16),
            ("2000::/3", 16),
            ("2a00::/15", 16),
            // They have fc00::/7 or fe80::/10, and more.
            ("fc00::/6", 16),
            ("fe80::/9", 16),
            ("::ffff:0:0/96", 8),
            ("::ffff:0.0.0.0/97", 8),
            ("::ffff:10.0.0.0/103", 8),
            ("::fffe:0:0/95", 0),
            ("::/80", 0),
        ] {
            let excess = if limit == 0 {
                "has every IPv4 address".into()
            } else {
                format!("is larger than a /{limit}")
            };
            let problem = format!(
                "WEB_TRUSTED_PROXIES: {word:?} {excess}: visitors from these networks could spoof the address used \
                 for rate limiting; ignored"
            );
            assert_eq!(
                trusted(&[(TRUSTED_PROXIES, word)]),
                (LOOPBACK.map(String::from).into(), vec![problem])
            );
        }
        let halves = trusted(&[(TRUSTED_PROXIES, "0.0.0.0/1 128.0.0.0/1 192.0.2.7")]);
        assert_eq!((halves.0.len(), halves.1.len()), (LOOPBACK.len() + 1, 2));
    }

    #[test]
    fn networks_that_are_much_of_the_internet_together_are_all_left_out() {
        let eighths = |count: u32| (1..=count).map(|first| format!("{first}.0.0.0/8")).collect::<Vec<_>>();
        let halves = |count: u32| {
            let halves =
                (1..=count).flat_map(|first| [0, 128].map(|second| format!("{first}.{second}.0.0/9")));
            halves.collect::<Vec<_>>()
        };
        // 512 of 8,192, and one more.
        let sixteens =
            |count: u32| (0..count).map(|number| format!("{:x}::/16", 0x2000 + number)).collect::<Vec<_>>();
        let once_more = [eighths(16), eighths(16), vec!["1.2.3.0/24".into(), "1.2.3.4".into()]].concat();
        // These addresses are unassigned.
        let unused = (0..600).map(|number| format!("{:x}::/16", 0x4000 + number)).collect();
        let with_site = |list: Vec<String>| [list, vec!["fc00::/7".into(), "fe80::/10".into()]].concat();
        for (list, family) in [
            (eighths(16), None),
            (eighths(17), Some("IPv4")),
            (halves(17), Some("IPv4")),
            (once_more.clone(), None),
            ([once_more, vec!["100.0.0.1".into()]].concat(), Some("IPv4")),
            (with_site(sixteens(512)), None),
            (with_site(sixteens(513)), Some("IPv6")),
            (unused, None),
        ] {
            let (networks, problems) = trusted(&[(TRUSTED_PROXIES, &list.join(","))]);
            let expected = family.map(|family| {
                format!(
                    "WEB_TRUSTED_PROXIES: the networks together are more than 1/16 of the {family} internet: visitors \
                     from these networks could spoof the address used for rate limiting; all are ignored"
                )
            });
            assert_eq!(networks == LOOPBACK, family.is_some());
            assert_eq!(problems, Vec::from_iter(expected));
        }
    }

    #[test]
    fn lists_that_proxies_publish_are_trusted() {
        let lists = [
            // Cloudflare, all of it.
            "173.245.48.0/20 103.21.244.0/22 103.22.200.0/22 103.31.4.0/22 141.101.64.0/18 108.162.192.0/18 190.93.240.0/20 \
             188.114.96.0/20 197.234.240.0/22 198.41.128.0/17 162.158.0.0/15 104.16.0.0/13 104.24.0.0/14 172.64.0.0/13 \
             131.0.72.0/22 2400:cb00::/32 2606:4700::/32 2803:f800::/32 2405:b500::/32 2405:8100::/32 2a06:98c0::/29 \
             2c0f:f248::/32",
            // The largest of a cloud's: AWS, Google.
            "3.0.0.0/9 13.32.0.0/15 18.128.0.0/9 52.46.0.0/18 54.230.0.0/16 2600:9000::/28 2600:1f00::/24 \
             34.64.0.0/10 35.192.0.0/11",
            "10.0.0.0/8 172.16.0.0/12 192.168.0.0/16 100.64.0.0/10 169.254.0.0/16 fc00::/7 fd00::/8 fe80::/10 \
             fd7a:115c:a1e0::/48",
        ];
        for list in lists {
            let (networks, problems) = trusted(&[(TRUSTED_PROXIES, list)]);
            assert_eq!(problems, [""; 0]);
            assert!(
                list.split_whitespace().all(|word| networks.iter().any(|network| network == word)),
                "{networks:?}"
            );
        }
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
                "WEB_TRUSTED_PROXIES: {word:?} is not an IP network such as 192.0.2.0/24; ignored"
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
