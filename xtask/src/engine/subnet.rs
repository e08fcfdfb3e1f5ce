//! A range of addresses that nothing else on the machine uses.

use std::fmt;
use std::net::Ipv4Addr;
use std::str::FromStr;

use serde::Deserialize;

/// An IPv4 network: its first address and how many bits of it are fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Subnet {
    first: u32,
    bits: u8,
}

impl Subnet {
    /// The network of that size around `address`.
    #[must_use]
    pub const fn new(address: u32, bits: u8) -> Self {
        let bits = if bits > 32 { 32 } else { bits };
        Self { first: address & mask(bits), bits }
    }

    /// True if the networks overlap.
    #[must_use]
    pub const fn overlaps(self, other: Self) -> bool {
        let shorter = mask(if self.bits < other.bits { self.bits } else { other.bits });
        self.first & shorter == other.first & shorter
    }

    /// The `index`-th part of this network that has `bits` fixed bits.
    #[must_use]
    pub const fn part(self, bits: u8, index: u32) -> Self {
        Self::new(self.first | (index << (32 - bits)), bits)
    }

    /// The first address for a machine, with the size of the network: `10.1.2.1/24`.
    #[must_use]
    pub fn gateway(self) -> String {
        format!("{}/{}", Ipv4Addr::from(self.first | 1), self.bits)
    }
}

const fn mask(bits: u8) -> u32 {
    if bits == 0 { 0 } else { u32::MAX << (32 - bits) }
}

impl fmt::Display for Subnet {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}/{}", Ipv4Addr::from(self.first), self.bits)
    }
}

impl FromStr for Subnet {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let (address, bits) = text.split_once('/').unwrap_or((text, "32"));
        let address: Ipv4Addr = address.parse().map_err(drop)?;
        Ok(Self::new(address.into(), bits.parse().map_err(drop)?))
    }
}

/// The two networks of an engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Networks {
    /// Network of the default bridge.
    pub bridge: Subnet,
    /// Pool for networks that are created later.
    pub pool: Subnet,
}

impl Networks {
    fn of(block: Subnet) -> Self {
        Self { bridge: block.part(24, 0), pool: block.part(21, 1) }
    }
}

/// Prefix length of the block that one engine takes.
const BLOCK_BITS: u8 = 20;

/// Ranges to search: away from the beginning of 10/8, where people put their own networks, and then in 172.16/12.
const RANGES: [Subnet; 2] = [Subnet::new(0x0a40_0000, 10), Subnet::new(0xac10_0000, 12)];

/// The first free block, beginning at the place that `id` (hexadecimal digits) points to; none when all are taken.
#[must_use]
pub fn choose(id: &str, taken: &[Subnet]) -> Option<Networks> {
    let start = u32::from_str_radix(id, 16).unwrap_or(0);
    let blocks = RANGES.iter().flat_map(|range| {
        let count = 1_u32 << (BLOCK_BITS - range.bits);
        (0..count).map(move |step| range.part(BLOCK_BITS, (start % count + step) % count))
    });
    blocks.into_iter().find(|block| !taken.iter().any(|other| block.overlaps(*other))).map(Networks::of)
}

/// One line of `ip -json route show table all`.
#[derive(Debug, Deserialize)]
struct Route {
    dst: String,
    dev: Option<String>,
}

/// The networks that the machine's routes lead to, without the default route and without those over `own_device`.
pub fn taken(routes: &str, own_device: &str) -> serde_json::Result<Vec<Subnet>> {
    let routes: Vec<Route> = serde_json::from_str(routes)?;
    let foreign = routes.iter().filter(|route| route.dev.as_deref() != Some(own_device));
    // A route to half of all addresses is a default route, as VPN clients set it.
    Ok(foreign.filter_map(|route| route.dst.parse().ok()).filter(|subnet: &Subnet| subnet.bits > 1).collect())
}

/// The bridges that docker made for networks inside `pool`; they stay behind when the daemon ends.
pub fn bridges_in(routes: &str, pool: Subnet) -> serde_json::Result<Vec<String>> {
    let routes: Vec<Route> = serde_json::from_str(routes)?;
    let inside = |route: &Route| {
        route.dst.parse().is_ok_and(|subnet: Subnet| subnet.bits >= pool.bits && subnet.overlaps(pool))
    };
    let devices = routes.into_iter().filter(inside).filter_map(|route| route.dev);
    let mut bridges: Vec<_> = devices.filter(|device| device.starts_with("br-")).collect();
    bridges.sort();
    bridges.dedup();
    Ok(bridges)
}

/// The device of the default route.
pub fn default_device(routes: &str) -> serde_json::Result<Option<String>> {
    let routes: Vec<Route> = serde_json::from_str(routes)?;
    Ok(routes.into_iter().find(|route| route.dst == "default").and_then(|route| route.dev))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subnet(text: &str) -> Subnet {
        text.parse().unwrap()
    }

    #[test]
    fn the_name_of_the_checkout_decides_where_to_begin() {
        let networks = choose("00000003", &[]).unwrap();
        assert_eq!(
            (networks.bridge.to_string(), networks.pool.to_string()),
            ("10.64.48.0/24".into(), "10.64.56.0/21".into())
        );
        assert_eq!(networks.bridge.gateway(), "10.64.48.1/24");
        assert_ne!(choose("00000004", &[]).unwrap(), networks);
    }

    #[test]
    fn a_taken_block_is_passed_over_and_the_last_one_is_followed_by_the_first() {
        let last = choose("000003ff", &[]).unwrap();
        assert_eq!(last.bridge, subnet("10.127.240.0/24"));
        let next = choose("000003ff", &[subnet("10.127.255.255")]).unwrap();
        assert_eq!(next.bridge, subnet("10.64.0.0/24"));
    }

    #[test]
    fn a_company_that_uses_all_of_10_leaves_172() {
        let networks = choose("00000003", &[subnet("10.0.0.0/8")]).unwrap();
        assert_eq!(networks.bridge, subnet("172.16.48.0/24"));
        assert_eq!(choose("00000003", &[subnet("10.0.0.0/8"), subnet("172.16.0.0/12")]), None);
    }

    #[test]
    fn overlap_is_about_addresses_and_not_about_sizes() {
        for (left, right, overlap) in [
            ("10.0.0.0/8", "10.213.7.0/24", true),
            ("10.213.7.1", "10.213.7.0/24", true),
            ("10.213.6.0/24", "10.213.7.0/24", false),
            ("0.0.0.0/0", "10.213.7.0/24", true),
        ] {
            assert_eq!(subnet(left).overlaps(subnet(right)), overlap, "{left} {right}");
            assert_eq!(subnet(right).overlaps(subnet(left)), overlap, "{right} {left}");
        }
    }

    #[test]
    fn our_own_leftover_bridge_and_default_routes_do_not_count_as_taken() {
        let routes = r#"[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]},
            {"dst":"128.0.0.0/1","dev":"tun0"}, {"dst":"10.64.48.0/24","dev":"leo00000003"},
            {"type":"local","dst":"10.213.7.1","dev":"docker0"}, {"dst":"192.0.2.0/24","dev":"eth0"},
            {"type":"blackhole","dst":"10.9.0.0/16"}, {"dst":"fe80::/64","dev":"eth0"}]"#;
        assert_eq!(
            taken(routes, "leo00000003").unwrap(),
            [subnet("10.213.7.1"), subnet("192.0.2.0/24"), subnet("10.9.0.0/16")]
        );
        assert_eq!(default_device(routes).unwrap().as_deref(), Some("eth0"));
    }

    #[test]
    fn only_dockers_bridges_inside_the_pool_are_ours() {
        let routes = r#"[{"dst":"default","dev":"br-0"}, {"dst":"10.0.0.0/8","dev":"br-1"}, {"dst":"10.64.56.0/24","dev":"br-2"},
            {"type":"local","dst":"10.64.56.1","dev":"br-2"}, {"dst":"10.64.57.0/24","dev":"tun0"}, {"dst":"10.64.64.0/24","dev":"br-3"}]"#;
        assert_eq!(bridges_in(routes, subnet("10.64.56.0/21")).unwrap(), ["br-2"]);
    }
}
