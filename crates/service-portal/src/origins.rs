//! Origins of this container's ports for one visitor.

use kit::Env;
use serde::Serialize;
use tunnels::{State, Tunnels};

use crate::app_state::AppState;
use crate::client::Client;

/// Addresses that are published, and tunnels that are open, as this visitor can use them.
pub struct Origins<'a> {
    env: &'a Env,
    tunnels: Tunnels,
    client: Client<'a>,
}

/// Tunnel to a service.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TunnelLink {
    /// URL of the service through the tunnel; `None` unless it is open.
    pub url: Option<String>,
    /// State of the tunnel.
    pub state: State,
    /// Words for it.
    pub text: &'static str,
}

impl<'a> Origins<'a> {
    /// Reads the present tunnels.
    pub fn new(state: &'a AppState, client: Client<'a>) -> Self {
        Self { env: state.env(), tunnels: state.tunnels(), client }
    }

    /// Returns the origin of a public port: the one that the provider publishes, otherwise the visitor's host with that port,
    /// or with the number under which the user published it. A visitor in a tunnel gets another tunnel, because the host of
    /// the first has no other ports.
    pub fn of(&self, port: u16) -> Option<String> {
        if self.is_in_tunnel() {
            let tunnel = self.tunnels.url(port).map(str::to_owned);
            return tunnel.or_else(|| cloud::address_for_visitor(self.env, port, None, false));
        }
        let visited = self.client.authority();
        let keeps_numbers = visited.port.is_some() && visited.port == self.client.port();
        cloud::address_for_visitor(self.env, port, visited.safe_name(), keeps_numbers)
    }

    /// Returns the origin of a public port without a tunnel, as far as it is known to a visitor in one.
    pub fn direct(&self, port: u16) -> Option<String> {
        if self.is_in_tunnel() {
            return cloud::address_for_visitor(self.env, port, None, false);
        }
        self.of(port)
    }

    /// Returns the origin of the portal for a visitor of another port. `None` on the portal's own port, and where the origin
    /// is unknown: through a tunnel or a proxy that is not ours, or if ports are published under other numbers.
    pub fn portal(&self) -> Option<String> {
        let port = self.client.port().filter(|&port| port != ports::PORTAL)?;
        if self.is_in_tunnel() {
            return self.tunnels.url(ports::PORTAL).map(str::to_owned);
        }
        let here = self.of(port)?;
        let came = format!("{}://{}", self.client.scheme(), self.client.host()?);
        here.eq_ignore_ascii_case(&came).then(|| self.of(ports::PORTAL))?
    }

    /// Returns the tunnel to a service with this public port and path; `None` if there is none and none is being opened.
    pub fn tunnel(&self, port: u16, path: &str) -> Option<TunnelLink> {
        let url = self.tunnels.url(port).map(|origin| format!("{origin}{path}"));
        let state = self.tunnels.state(port)?;
        let text = match state {
            State::Open => "tunnel",
            State::Opening => "tunnel: opening",
            State::Lost | State::Waiting | State::Off => "no tunnel",
        };
        Some(TunnelLink { url, state, text })
    }

    /// Returns the tunnels.
    pub fn tunnels(&self) -> &Tunnels {
        &self.tunnels
    }

    /// True if the visitor has come through one of our tunnels.
    fn is_in_tunnel(&self) -> bool {
        let port = self.client.host().and_then(|host| self.tunnels.port_of(host));
        port.is_some() && port == self.client.port()
    }
}

#[cfg(test)]
mod tests {
    use tunnels::{Cause, Kind, Status, Tunnel};

    use super::*;
    use crate::client::tests::headers;

    /// Calls `ask` with the origins of a visitor of `port` who entered `scheme://host`.
    fn with_origins<T>(
        pairs: &[(&str, &str)],
        visited: (&str, &str, &str),
        tunnels: Tunnels,
        ask: impl FnOnce(Origins<'_>) -> T,
    ) -> T {
        let (scheme, host, port) = visited;
        let headers =
            headers(&[("x-forwarded-proto", scheme), ("x-forwarded-host", host), ("x-leonardo-port", port)]);
        ask(Origins { env: &pairs.iter().copied().collect(), tunnels, client: Client(&headers) })
    }

    fn url(pairs: &[(&str, &str)], host: &str) -> Option<String> {
        with_origins(pairs, ("http", host, "1111"), Tunnels::default(), |origins| {
            Some(origins.of(8888)? + "/lab")
        })
    }

    fn portal_of(pairs: &[(&str, &str)], scheme: &str, host: &str, port: &str) -> Option<String> {
        with_origins(pairs, (scheme, host, port), Tunnels::default(), |origins| origins.portal())
    }

    /// Quick tunnels to the portal and to 8188; one to 8888 is not open. Port 8189 has a hostname of the named tunnel.
    fn tunnels() -> Tunnels {
        let directory = tempfile::tempdir().unwrap();
        let tunnel = |port: u16, state: State, host: Option<&str>| Tunnel {
            port,
            state,
            url: host.map(|host| format!("https://{host}")),
            cause: (state == State::Waiting).then_some(Cause::RateLimited),
            detail: None,
            retry_at: None,
        };
        let quick = vec![
            tunnel(1111, State::Open, Some("portal.trycloudflare.com")),
            tunnel(8188, State::Open, Some("comfy.trycloudflare.com")),
            tunnel(8888, State::Waiting, None),
            tunnel(9000, State::Opening, None),
        ];
        let named = vec![tunnel(8189, State::Open, Some("lab.example.org"))];
        for (kind, tunnels) in [(Kind::Quick, quick), (Kind::Named, named)] {
            Status { tunnels, ..Status::default() }.write(kind, directory.path()).unwrap();
        }
        Tunnels::read(directory.path())
    }

    #[test]
    fn a_visitor_in_a_tunnel_stays_in_tunnels() {
        let (comfy, portal) = ("comfy.trycloudflare.com", "https://portal.trycloudflare.com");
        let of = |pairs: &[(&str, &str)], host: &str, port: &str, wanted: u16| {
            with_origins(pairs, ("https", host, port), tunnels(), |origins| origins.of(wanted))
        };
        let some = |text: &str| Some(text.to_owned());
        assert_eq!(
            of(&[], "portal.trycloudflare.com", "1111", 8188),
            some("https://comfy.trycloudflare.com")
        );
        assert_eq!(of(&[], comfy, "8188", 8189), some("https://lab.example.org"));
        assert_eq!(of(&[], comfy, "8188", 8888), None, "its host has no port 8888");
        let vast = [("CONTAINER_ID", "7"), ("PUBLIC_IPADDR", "192.0.2.9"), ("VAST_TCP_PORT_8888", "41")];
        assert_eq!(of(&vast, comfy, "8188", 8888), some("http://192.0.2.9:41"), "this one has");
        assert_eq!(of(&[], "localhost:1111", "1111", 8188), some("http://localhost:8188"), "not in a tunnel");
        let login = |host: &str, port: &str| {
            with_origins(&[], ("https", host, port), tunnels(), |origins| origins.portal())
        };
        assert_eq!(login(comfy, "8188"), some(portal));
        assert_eq!(login("LAB.example.org", "8189"), some(portal), "of a named tunnel too");
        assert_eq!(login("portal.trycloudflare.com", "1111"), None, "already there");
        assert_eq!(login(comfy, "8189"), None, "the tunnel does not lead to this port");
        assert_eq!(login("other.trycloudflare.com", "8188"), None, "a tunnel that is not ours");
    }

    #[test]
    fn a_service_has_a_link_through_its_tunnel_or_words_about_it() {
        let shown = |port: u16| {
            let link = with_origins(&[], ("http", "h:1111", "1111"), tunnels(), |origins| {
                origins.tunnel(port, "/lab")
            });
            serde_json::to_string(&link).unwrap()
        };
        let open = r#"{"url":"https://comfy.trycloudflare.com/lab","state":"open","text":"tunnel"}"#;
        assert_eq!(shown(8188), open);
        assert_eq!(shown(8888), r#"{"url":null,"state":"waiting","text":"no tunnel"}"#);
        assert_eq!(shown(9000), r#"{"url":null,"state":"opening","text":"tunnel: opening"}"#);
        assert_eq!(shown(9001), "null");
    }

    #[test]
    fn the_portals_origin_is_known_if_ports_keep_their_numbers_or_the_provider_publishes_them() {
        assert_eq!(portal_of(&[], "http", "gpu.lan:8188", "8188"), Some("http://gpu.lan:1111".into()));
        assert_eq!(portal_of(&[], "http", "[::1]:8188", "8188"), Some("http://[::1]:1111".into()));
        let https = [("WEB_ENABLE_HTTPS", "true")];
        assert_eq!(portal_of(&https, "https", "h:8188", "8188"), Some("https://h:1111".into()));
        assert_eq!(portal_of(&https, "http", "h:8188", "8188"), None, "a proxy in front");
        assert_eq!(portal_of(&[], "http", "h:28188", "8188"), None, "published under another number");
        assert_eq!(portal_of(&[], "https", "abc.tunnel.example", "8188"), None, "a tunnel");
        assert_eq!(portal_of(&[], "http", "h:1111", "1111"), None, "already at the portal");
        let mapped = [("MAPPED_TCP_PORT_1111", "1112"), ("MAPPED_TCP_PORT_8188", "28188")];
        assert_eq!(portal_of(&mapped, "http", "h:28188", "8188"), Some("http://h:1112".into()));
        let inside = portal_of(&mapped, "http", "localhost:8188", "8188");
        assert_eq!(inside, Some("http://localhost:1111".into()), "through an SSH tunnel");
        let pod = [("RUNPOD_POD_ID", "abc")];
        let of = |port: &str| format!("abc-{port}.proxy.runpod.net");
        assert_eq!(portal_of(&pod, "https", &of("8188"), "8188"), Some(format!("https://{}", of("1111"))));
        let vast = [
            ("VAST_CONTAINERLABEL", "C.1"),
            ("PUBLIC_IPADDR", "192.0.2.9"),
            ("VAST_TCP_PORT_1111", "41111"),
            ("VAST_TCP_PORT_8188", "48188"),
        ];
        assert_eq!(
            portal_of(&vast, "http", "192.0.2.9:48188", "8188"),
            Some("http://192.0.2.9:41111".into())
        );
        assert_eq!(portal_of(&vast, "http", "localhost:8188", "8188"), None, "through an SSH tunnel");
    }

    #[test]
    fn a_link_has_the_host_of_the_visitor_or_the_provider() {
        assert_eq!(url(&[], "gpu.lan:1111"), Some("http://gpu.lan:8888/lab".into()));
        assert_eq!(url(&[], "[::1]:1111"), Some("http://[::1]:8888/lab".into()));
        assert_eq!(
            url(&[("DIRECT_ADDRESS", "lab.example")], "x"),
            Some("http://lab.example:8888/lab".into())
        );
        let vast = [("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "192.0.2.9")];
        assert_eq!(url(&vast, "x"), None, "a port that the provider does not publish has no link");
        assert_eq!(url(&[], "\"><script>"), None);
        let mapped = [("MAPPED_TCP_PORT_8888", "28888")];
        assert_eq!(url(&mapped, "gpu.lan:1112"), Some("http://gpu.lan:28888/lab".into()));
        assert_eq!(url(&mapped, "localhost:1111"), Some("http://localhost:8888/lab".into()), "SSH tunnel");
    }
}
