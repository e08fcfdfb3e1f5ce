//! The host of a request, as the visitor entered it (RFC 9110, 7.2).

use std::net::{IpAddr, Ipv4Addr};

/// A host with an optional port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Authority<'a> {
    name: &'a str,
    /// The port, if present.
    pub port: Option<u16>,
}

impl<'a> Authority<'a> {
    /// Splits `host`, `host:port`, `[v6]` or `[v6]:port`.
    pub fn parse(text: &'a str) -> Self {
        let (name, port) = match text.rsplit_once(':') {
            Some((name, port)) if !port.contains(']') && port.bytes().all(|byte| byte.is_ascii_digit()) => {
                (name, port.parse().ok())
            }
            _ => (text, None),
        };
        Self { name, port }
    }

    /// Returns the host without its port; `None` if it contains characters that are unsafe in a URL.
    pub fn safe_name(self) -> Option<&'a str> {
        let plain = self.name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-_[]:".contains(&byte));
        (plain && !self.name.is_empty()).then_some(self.name)
    }

    /// Returns the host in lower case, without the dot at the end of an absolute name.
    pub fn canonical(self) -> String {
        self.name.trim_end_matches('.').to_ascii_lowercase()
    }

    /// Returns the IP address if the host is one, in any notation of browsers (WHATWG URL, "ends in a number").
    pub fn address(self) -> Option<IpAddr> {
        let name = self.canonical();
        let bare = name.strip_prefix('[').and_then(|name| name.strip_suffix(']')).unwrap_or(&name);
        if let Ok(address) = bare.parse::<IpAddr>() {
            return Some(address.to_canonical());
        }
        let last = name.rsplit('.').next().unwrap_or_default();
        let number = last.strip_prefix("0x").map_or_else(
            || !last.is_empty() && last.bytes().all(|byte| byte.is_ascii_digit()),
            |hex| hex.bytes().all(|byte| byte.is_ascii_hexdigit()),
        );
        number.then_some(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// True if the host is this machine: `localhost`, names below it (RFC 6761, 6.3) and its usual names in `/etc/hosts`.
    pub fn is_localhost(self) -> bool {
        let name = self.canonical();
        matches!(name.as_str(), "localhost" | "localhost.localdomain" | "ip6-localhost" | "ip6-loopback")
            || name.ends_with(".localhost")
    }

    /// True if public DNS has no record of the host: an address, `localhost`, a name without a dot, or one below
    /// a domain reserved for local networks (RFC 6762, RFC 8375, ICANN's `.internal`).
    pub fn is_local_name(self) -> bool {
        const LOCAL: [&str; 6] = [".local", ".lan", ".internal", ".home.arpa", ".localdomain", ".home"];
        let name = self.canonical();
        self.address().is_some()
            || self.is_localhost()
            || !name.contains('.')
            || LOCAL.iter().any(|domain| name.ends_with(domain))
    }

    /// True if the host can be reached only from nearby machines: a private address or a local name.
    pub fn is_private(self) -> bool {
        match self.address() {
            Some(IpAddr::V4(address)) => {
                let shared = address.octets()[0] == 100 && address.octets()[1] & 0xc0 == 64;
                address.is_loopback()
                    || address.is_private()
                    || address.is_link_local()
                    || address.is_unspecified()
                    || shared
            }
            Some(IpAddr::V6(address)) => {
                address.is_loopback()
                    || address.is_unspecified()
                    || address.is_unique_local()
                    || address.is_unicast_link_local()
            }
            None => self.is_local_name(),
        }
    }
}

/// Host names under which browsers can use services without a login, as protection against DNS rebinding.
///
/// A malicious site can point its own name at this container, and then has the same origin. It cannot do that with addresses
/// and local names. Names without a port, or with port 80 or 443, are safe as well: they belong to tunnels and proxies, and
/// the site would have to be served at the container's own port.
#[derive(Debug, Clone, Default)]
pub struct AllowedHosts(Vec<String>);

impl AllowedHosts {
    /// Creates the list from the names that the user, the provider and the machine give.
    pub fn new(names: impl IntoIterator<Item = String>) -> Self {
        Self(names.into_iter().map(|name| Authority::parse(&name).canonical()).collect())
    }

    /// True if a request for this host is allowed.
    pub fn allows(&self, host: &str) -> bool {
        let authority = Authority::parse(host);
        let name = authority.canonical();
        matches!(authority.port, None | Some(80 | 443))
            || authority.is_local_name()
            || self.0.iter().any(|allowed| {
                allowed.strip_prefix('*').map_or(name == *allowed, |domain| name.ends_with(domain))
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_split_from_its_port() {
        for (text, name, port) in [
            ("h:1111", "h", Some(1111)),
            ("h", "h", None),
            ("[::1]:80", "[::1]", Some(80)),
            ("[2001:db8::1]", "[2001:db8::1]", None),
            ("h:99999", "h", None),
            ("", "", None),
        ] {
            assert_eq!(Authority::parse(text), Authority { name, port }, "{text}");
        }
        assert_eq!(Authority::parse("a b:1").safe_name(), None);
        assert_eq!(Authority::parse("[::1]:1").safe_name(), Some("[::1]"));
    }

    #[test]
    fn hosts_are_classified() {
        // a: address, o: localhost, l: local name, p: private.
        for (text, is) in [
            ("192.0.2.1:1111", "a-l-"),
            ("10.1.2.3", "a-lp"),
            ("100.64.1.1", "a-lp"),
            ("100.128.1.1", "a-l-"),
            ("169.254.1.1", "a-lp"),
            ("127.1:1", "a-lp"),
            ("2130706433:1", "a-lp"),
            ("0x7f000001.", "a-lp"),
            ("0x7f.0.0.1", "a-lp"),
            ("127.0.0.1.:1", "a-lp"),
            ("[::1]:1", "a-lp"),
            ("[::ffff:10.0.0.1]", "a-lp"),
            ("[fd00::1]", "a-lp"),
            ("[fe80::1]", "a-lp"),
            ("[2001:db8::1]", "a-l-"),
            ("LOCALHOST:1", "-olp"),
            ("localhost.", "-olp"),
            ("a.localhost:1", "-olp"),
            ("a.b.localhost.", "-olp"),
            ("localhost.localdomain", "-olp"),
            ("gpubox:8188", "--lp"),
            ("gpubox.local", "--lp"),
            ("gpu.home.arpa.", "--lp"),
            ("notlocalhost.example", "----"),
            ("localhost.example:1", "----"),
            ("evil.example:8188", "----"),
            ("1.example", "----"),
            ("0xz.0xg", "----"),
        ] {
            let host = Authority::parse(text);
            let seen = [
                (host.address().is_some(), 'a'),
                (host.is_localhost(), 'o'),
                (host.is_local_name(), 'l'),
                (host.is_private(), 'p'),
            ];
            let seen: String = seen.map(|(yes, letter)| if yes { letter } else { '-' }).iter().collect();
            assert_eq!(seen, is, "{text}");
        }
    }

    #[test]
    fn names_that_another_site_could_own_are_rejected_without_a_login() {
        let hosts = AllowedHosts::new(["Lab.Example.", "*.ts.example"].map(str::to_owned));
        for allowed in [
            "127.0.0.1:8188",
            "[::1]:8188",
            "localhost:8188",
            "gpubox:8188",
            "gpubox.local:8188",
            "lab.example:8188",
            "LAB.example.:8188",
            "a.ts.example:8188",
            "abc.tunnel.example",
            "pod-8188.proxy.example:443",
        ] {
            assert!(hosts.allows(allowed), "{allowed}");
        }
        for refused in ["evil.example:8188", "lab.example.evil:8188", "xlab.example:1", "ts.example.evil:1"] {
            assert!(!hosts.allows(refused), "{refused}");
        }
    }
}
