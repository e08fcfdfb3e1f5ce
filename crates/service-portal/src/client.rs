//! What Caddy tells about a visitor, and what kind of client it is.
//!
//! Caddy sets `X-Forwarded-For`, `-Host` and `-Proto` itself, and `-Uri` and `-Method` in its questions to the gate; in
//! everything else its configuration drops the latter two. Only Caddy can reach our socket.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, Method, header};

use crate::sessions::Visitor;

/// Headers of a request, with the questions that the gate asks.
#[derive(Clone, Copy)]
pub struct Client<'a>(pub &'a HeaderMap);

impl<'a> Client<'a> {
    /// The visitor's address; one that Caddy did not tell shares the brake of 0.0.0.0.
    pub fn address(self) -> IpAddr {
        self.text("x-forwarded-for")
            .and_then(|list| list.rsplit(',').next())
            .and_then(|address| address.trim().parse().ok())
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// The public port of this container that the visitor came to; only Caddy can say it.
    pub fn port(self) -> Option<u16> {
        self.text("x-leonardo-port")?.parse().ok()
    }

    /// What is kept of a visitor who begins a session.
    pub fn visitor(self) -> Visitor {
        let host = self.host().unwrap_or_default();
        let name = host.rsplit_once(':').map_or(host, |(name, port)| {
            if port.bytes().all(|byte| byte.is_ascii_digit()) { name } else { host }
        });
        // An address may belong to several servers, a name to one: on an address, neighbours see the cookie too.
        // So do all tunnels of a user that end at localhost.
        let bound =
            name.trim_matches(['[', ']']).parse::<IpAddr>().is_ok() || name.eq_ignore_ascii_case("localhost");
        Visitor { address: self.address(), agent: self.agent(), bound }
    }

    /// What the browser says it is, cut to what a line can hold.
    pub fn agent(self) -> String {
        let agent = self.text("user-agent").unwrap_or("unknown");
        agent.chars().filter(|letter| !letter.is_control() && *letter != '"').take(120).collect()
    }

    /// Host and port as the visitor wrote them.
    pub fn host(self) -> Option<&'a str> {
        self.text("x-forwarded-host").or_else(|| self.text("host"))
    }

    /// Whether the visitor came by https.
    pub fn is_https(self) -> bool {
        self.text("x-forwarded-proto") == Some("https")
    }

    /// The path and query that the visitor asked for.
    pub fn uri(self) -> &'a str {
        self.text("x-forwarded-uri").unwrap_or("/")
    }

    /// The method that the visitor used.
    pub fn method(self) -> Method {
        self.text("x-forwarded-method").and_then(|method| method.parse().ok()).unwrap_or(Method::GET)
    }

    /// All `Cookie` headers.
    pub fn cookies(self) -> Vec<&'a [u8]> {
        self.0.get_all(header::COOKIE).iter().map(axum::http::HeaderValue::as_bytes).collect()
    }

    /// Whether the request opens a websocket (RFC 6455, 4.1).
    pub fn is_websocket(self) -> bool {
        self.text("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }

    /// Whether somebody looks at the answer: a page that a browser opens, not a script's request.
    pub fn is_browser_page(self) -> bool {
        let navigates = self.text("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        let reads = [Method::GET, Method::HEAD].contains(&self.method());
        reads
            && navigates
            && !self.is_websocket()
            && self.text("accept").is_some_and(|types| types.contains("text/html"))
    }

    /// Whether a browser sent it at all. Fetch metadata would tell, but plain http carries none except on localhost.
    pub fn is_browser(self) -> bool {
        self.0.contains_key("sec-fetch-mode")
            || self.text("user-agent").is_some_and(|agent| agent.contains("Mozilla/"))
    }

    /// Whether a page of another origin makes the browser change something or open a stream (hazard H15).
    ///
    /// `SameSite` cookies do not help: ports do not count for them, and a provider's neighbour has only another port.
    pub fn is_cross_site(self) -> bool {
        let reads = [Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method());
        (self.is_websocket() || !reads) && self.is_same_origin() == Some(false)
    }

    /// Whether the page that sent this has the same host and port; `None` if the client did not say.
    pub fn is_same_origin(self) -> Option<bool> {
        let origin = self.text("origin")?;
        let authority = origin.split_once("://").map(|(_, authority)| authority);
        Some(
            authority.is_some()
                && authority.map(str::to_ascii_lowercase) == self.host().map(str::to_ascii_lowercase),
        )
    }

    fn text(self, name: &'static str) -> Option<&'a str> {
        self.0.get(HeaderName::from_static(name))?.to_str().ok()
    }
}

/// The network of an address: what stays the same when a household or a company gets another one.
pub fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => IpAddr::V4((u32::from(address) & !0xff).into()),
        IpAddr::V6(address) => IpAddr::V6((u128::from(address) >> 64 << 64).into()),
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        pairs.iter().map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap())).collect()
    }

    #[test]
    fn a_page_is_told_from_a_script_and_a_program() {
        let page = [("accept", "text/html,*/*"), ("sec-fetch-mode", "navigate")];
        assert!(Client(&headers(&page)).is_browser_page());
        for other in [
            &[("accept", "*/*")][..],
            &[("accept", "text/html"), ("sec-fetch-mode", "cors")],
            &[("accept", "text/html"), ("x-forwarded-method", "POST")],
            &[("accept", "text/html"), ("upgrade", "WebSocket")],
            &[],
        ] {
            assert!(!Client(&headers(other)).is_browser_page(), "{other:?}");
        }
    }

    #[test]
    fn an_origin_is_the_same_only_with_the_same_host_and_port() {
        for (origin, same) in [
            ("http://h:1111", true),
            ("https://H:1111", true),
            ("http://h:2222", false),
            ("http://h", false),
            ("null", false),
            ("http://h:1111.evil", false),
        ] {
            let headers = headers(&[("x-forwarded-host", "h:1111"), ("origin", origin)]);
            assert_eq!(Client(&headers).is_same_origin(), Some(same), "{origin}");
        }
        assert_eq!(Client(&headers(&[("host", "h")])).is_same_origin(), None);
    }

    #[test]
    fn another_origin_may_look_but_not_touch() {
        let from = |more: &[(&'static str, &str)]| {
            let mut headers = headers(&[("x-forwarded-host", "h:1111"), ("origin", "http://h:2222")]);
            headers.extend(self::headers(more));
            Client(&headers).is_cross_site()
        };
        assert!(!from(&[]) && !from(&[("x-forwarded-method", "HEAD")]));
        assert!(from(&[("x-forwarded-method", "POST")]) && from(&[("upgrade", "websocket")]));
        assert!(!from(&[("x-forwarded-method", "DELETE"), ("origin", "http://h:1111")]));
    }

    #[test]
    fn a_session_is_bound_where_the_host_is_an_address() {
        let bound = |host: &str| Client(&headers(&[("x-forwarded-host", host)])).visitor().bound;
        for address in
            ["192.0.2.1:1111", "192.0.2.1", "[2001:db8::1]:1111", "[2001:db8::1]", "localhost:1111"]
        {
            assert!(bound(address), "{address}");
        }
        for name in ["abc-1111.proxy.example", ""] {
            assert!(!bound(name), "{name}");
        }
    }

    #[test]
    fn only_the_address_that_caddy_added_counts() {
        let headers = headers(&[("x-forwarded-for", "1.2.3.4, 192.0.2.1")]);
        assert_eq!(Client(&headers).address(), IpAddr::from([192, 0, 2, 1]));
    }
}
