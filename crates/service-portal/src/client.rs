//! What Caddy tells about a visitor, and what kind of client it is.
//!
//! Caddy sets `X-Forwarded-For`, `-Host` and `-Proto` itself, and `-Uri` and `-Method` in its questions to the gate; in
//! everything else its configuration drops the latter two. Only Caddy can reach our socket.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::host::Authority;
use crate::sessions::SessionOrigin;

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
    pub fn session_origin(self) -> SessionOrigin {
        // An address may belong to several servers, a name to one: on an address, neighbours see the cookie too.
        // So do all tunnels of a user that end at localhost.
        let authority = self.authority();
        let bound = authority.address().is_some() || authority.is_localhost();
        SessionOrigin { address: self.address(), agent: self.user_agent(), bound, device: None }
    }

    /// What the browser says it is, cut to what a line can hold.
    pub fn user_agent(self) -> String {
        let agent = self.text("user-agent").unwrap_or("unknown");
        agent.chars().filter(|letter| !letter.is_control() && *letter != '"').take(120).collect()
    }

    /// Host and port as the visitor wrote them.
    pub fn host(self) -> Option<&'a str> {
        self.text("x-forwarded-host").or_else(|| self.text("host"))
    }

    /// The same, split.
    pub fn authority(self) -> Authority<'a> {
        Authority::parse(self.host().unwrap_or_default())
    }

    /// The scheme by which the visitor came.
    pub fn scheme(self) -> &'static str {
        if self.is_https() { "https" } else { "http" }
    }

    /// Whether the visitor came by https.
    pub fn is_https(self) -> bool {
        self.text("x-forwarded-proto") == Some("https")
    }

    /// The path and query that the visitor asked for; they need not be ASCII, and what is not UTF-8 is no path.
    pub fn uri(self) -> &'a str {
        let uri = self.0.get("x-forwarded-uri").map(HeaderValue::as_bytes);
        uri.map_or("/", |uri| std::str::from_utf8(uri).unwrap_or_default())
    }

    /// The method that the visitor used.
    pub fn method(self) -> Method {
        self.text("x-forwarded-method").and_then(|method| method.parse().ok()).unwrap_or(Method::GET)
    }

    /// All `Cookie` headers.
    pub fn cookies(self) -> Vec<&'a [u8]> {
        self.0.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect()
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

    /// True if the request changes something or opens a stream.
    pub fn is_mutating(self) -> bool {
        self.is_websocket() || ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method())
    }

    /// True if a page of another origin made the browser send this, and it is more than a link that a person follows
    /// (hazard H15): only a page that opens at the top level shows its address.
    ///
    /// `SameSite` cookies do not help: ports do not count for them, and a provider's neighbour has only another port.
    ///
    /// A browser prefetches for a page of any origin, with the cookies, and no person sees the answer; Chromium does not
    /// name the page then.
    pub fn is_cross_origin(self) -> bool {
        match self.is_same_origin() {
            Some(true) => false,
            _ if self.0.contains_key("sec-purpose") => true,
            same => same == Some(false) && !self.is_top_level_page(),
        }
    }

    fn is_top_level_page(self) -> bool {
        [Method::GET, Method::HEAD].contains(&self.method())
            && !self.is_websocket()
            && self.text("sec-fetch-mode") == Some("navigate")
            // Chromium says "empty" where the service's own worker hands a page's request on; no script can ask for a page.
            && matches!(self.text("sec-fetch-dest"), Some("document" | "empty"))
    }

    /// Whether the page that sent this has the same host and port; `None` if the client did not say.
    ///
    /// Fetch metadata counts more than `Origin`: no page can set it, and no proxy that changes `Host` makes it wrong.
    pub fn is_same_origin(self) -> Option<bool> {
        match self.text("sec-fetch-site") {
            Some("same-origin") => return Some(true),
            Some("same-site" | "cross-site") => return Some(false),
            _ => {}
        }
        let origin = self.0.get(header::ORIGIN)?;
        Some(origin.to_str().is_ok_and(|origin| self.is_own(origin)))
    }

    /// True if an origin has the host and port that the visitor came to; the scheme's own port may be left out.
    fn is_own(self, origin: &str) -> bool {
        let Some((scheme, authority)) = origin.split_once("://") else { return false };
        let default = if scheme.eq_ignore_ascii_case("https") { ":443" } else { ":80" };
        let bare = |text: &str| text.strip_suffix(default).unwrap_or(text).to_ascii_lowercase();
        self.host().is_some_and(|host| bare(host) == bare(authority))
    }

    /// True if a browser asks whether a page of another origin may send a request (Fetch, "CORS-preflight request").
    pub fn is_preflight(self) -> bool {
        self.method() == Method::OPTIONS
            && self.0.contains_key(header::ORIGIN)
            && self.0.contains_key(header::ACCESS_CONTROL_REQUEST_METHOD)
    }

    /// True if the request has a token that a program sent on purpose; browsers never add one by themselves.
    pub fn has_bearer(self) -> bool {
        let value = self.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        value.and_then(|value| value.get(..7)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    }

    /// Bytes of all cookies.
    pub fn cookie_bytes(self) -> usize {
        self.0.get_all(header::COOKIE).iter().map(HeaderValue::len).sum()
    }

    fn text(self, name: &'static str) -> Option<&'a str> {
        self.0.get(HeaderName::from_static(name))?.to_str().ok()
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
    fn a_default_port_may_be_left_out() {
        for (host, origin, same) in [
            ("app.example:443", "https://app.example", true),
            ("app.example", "https://app.example:443", true),
            ("app.example:80", "http://app.example", true),
            ("[::1]:443", "https://[::1]", true),
            ("app.example:443", "http://app.example", false),
            ("app.example:80", "https://app.example", false),
            ("app.example:4433", "https://app.example", false),
        ] {
            let headers = headers(&[("x-forwarded-host", host), ("origin", origin)]);
            assert_eq!(Client(&headers).is_same_origin(), Some(same), "{host} {origin}");
        }
    }

    #[test]
    fn fetch_metadata_counts_more_than_the_origin() {
        let same = |site: &str, origin: &str| {
            let headers = headers(&[("host", "h:1"), ("sec-fetch-site", site), ("origin", origin)]);
            Client(&headers).is_same_origin()
        };
        assert_eq!(same("same-origin", "null"), Some(true));
        assert_eq!(same("same-site", "http://h:1"), Some(false));
        assert_eq!(same("cross-site", "http://h:1"), Some(false));
        assert_eq!(same("none", "http://h:1"), Some(true));
        let mut unreadable = headers(&[("host", "h:1")]);
        unreadable.insert("origin", HeaderValue::from_bytes(b"http://h\xff:1").unwrap());
        assert_eq!(Client(&unreadable).is_same_origin(), Some(false));
    }

    #[test]
    fn a_foreign_page_may_only_lead_a_person_here() {
        let top = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let post = ("x-forwarded-method", "POST");
        // A page of another port on the same host, with the fetch metadata of a trustworthy origin and without.
        let cases: [(&[(&'static str, &str)], bool); 15] = [
            (&[("sec-fetch-site", "same-site"), top[0], top[1], ("sec-purpose", "prefetch;prerender")], true),
            (&[("sec-fetch-site", "none"), top[0], top[1], ("sec-purpose", "prefetch")], true),
            (&[("sec-fetch-site", "same-origin"), top[0], top[1], ("sec-purpose", "prefetch")], false),
            (&[("sec-fetch-site", "same-site"), top[0], top[1]], false),
            (&[("sec-fetch-site", "cross-site"), top[0], top[1], ("x-forwarded-method", "HEAD")], false),
            (&[("sec-fetch-site", "cross-site"), top[0], top[1], post], true),
            (&[("sec-fetch-site", "same-site"), top[0], top[1], ("upgrade", "websocket")], true),
            (&[("sec-fetch-site", "same-site"), top[0], ("sec-fetch-dest", "iframe")], true),
            (
                &[
                    ("sec-fetch-site", "same-site"),
                    ("sec-fetch-mode", "no-cors"),
                    ("sec-fetch-dest", "script"),
                ],
                true,
            ),
            (
                &[("sec-fetch-site", "same-site"), ("sec-fetch-mode", "cors"), ("sec-fetch-dest", "empty")],
                true,
            ),
            (&[("sec-fetch-site", "same-origin"), post], false),
            (&[("sec-fetch-site", "none"), top[0], top[1]], false),
            (&[("origin", "http://h:2222"), post], true),
            (&[("origin", "http://h:2222")], true),
            (&[post], false),
        ];
        for (pairs, foreign) in cases {
            let headers = headers(&[&[("x-forwarded-host", "h:1111")], pairs].concat());
            assert_eq!(Client(&headers).is_cross_origin(), foreign, "{pairs:?}");
        }
    }

    #[test]
    fn what_changes_something() {
        let changes = |pairs: &[(&'static str, &str)]| Client(&headers(pairs)).is_mutating();
        for method in ["GET", "HEAD", "OPTIONS"] {
            assert!(!changes(&[("x-forwarded-method", method)]), "{method}");
        }
        for method in ["POST", "DELETE", "CONNECT", "PATCH"] {
            assert!(changes(&[("x-forwarded-method", method)]), "{method}");
        }
        assert!(changes(&[("upgrade", "websocket")]) && !changes(&[]));
    }

    #[test]
    fn a_preflight_has_all_three_signs() {
        let signs = [
            ("x-forwarded-method", "OPTIONS"),
            ("origin", "http://a"),
            ("access-control-request-method", "PUT"),
        ];
        assert!(Client(&headers(&signs)).is_preflight());
        for missing in 0..signs.len() {
            let mut pairs = signs.to_vec();
            pairs.remove(missing);
            assert!(!Client(&headers(&pairs)).is_preflight(), "{pairs:?}");
        }
    }

    #[test]
    fn a_session_is_bound_where_neighbours_see_the_cookie() {
        let bound = |host: &str| Client(&headers(&[("x-forwarded-host", host)])).session_origin().bound;
        for address in [
            "192.0.2.1:1111",
            "192.0.2.1",
            "[2001:db8::1]:1111",
            "localhost:1111",
            "localhost.:1111",
            "a.localhost",
            "127.1:1111",
        ] {
            assert!(bound(address), "{address}");
        }
        for name in ["abc-1111.proxy.example", "gpu.lan:1111", ""] {
            assert!(!bound(name), "{name}");
        }
    }

    #[test]
    fn a_visitor_is_an_address_and_a_browser() {
        let long = format!("Mozilla/5.0 \"{}", "x".repeat(200));
        let pairs = [("x-forwarded-for", "192.0.2.1"), ("user-agent", &long), ("host", "192.0.2.9:1111")];
        let visitor = Client(&headers(&pairs)).session_origin();
        assert_eq!((visitor.address, visitor.bound), (IpAddr::from([192, 0, 2, 1]), true));
        assert_eq!(visitor.agent, format!("Mozilla/5.0 {}", "x".repeat(108)));
        assert_eq!(Client(&HeaderMap::new()).session_origin().agent, "unknown");
        assert_eq!(Client(&headers(&[("x-forwarded-for", "x")])).address(), IpAddr::from([0; 4]));
    }

    #[test]
    fn only_a_program_adds_a_token() {
        let bearer = |value: &str| Client(&headers(&[("authorization", value)])).has_bearer();
        assert!(bearer("Bearer x") && bearer("bearer x") && bearer("BEARER "));
        assert!(!bearer("Bearer") && !bearer("Basic YWRh") && !bearer("Bearerx"));
        assert!(!Client(&HeaderMap::new()).has_bearer());
    }

    #[test]
    fn a_browser_is_known_by_its_name_or_fetch_metadata() {
        let browser = |pairs: &[(&'static str, &str)]| Client(&headers(pairs)).is_browser();
        assert!(browser(&[("user-agent", "Mozilla/5.0")]) && browser(&[("sec-fetch-mode", "cors")]));
        assert!(!browser(&[("user-agent", "curl/8.14")]) && !browser(&[]));
    }

    #[test]
    fn only_the_address_that_caddy_added_counts() {
        let headers = headers(&[("x-forwarded-for", "1.2.3.4, 192.0.2.1")]);
        assert_eq!(Client(&headers).address(), IpAddr::from([192, 0, 2, 1]));
    }
}
