//! The client of a request, as described by headers that Caddy sets or forwards.
//!
//! Caddy sets `X-Forwarded-For`, `-Host` and `-Proto` itself, and `-Uri` and `-Method` in subrequests to the gate; its
//! configuration removes these two from all other requests. Only Caddy can reach the socket.

use std::net::{IpAddr, Ipv4Addr};

use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, header};

use crate::host::Authority;
use crate::sessions::SessionOrigin;

/// Headers of a request.
#[derive(Clone, Copy)]
pub struct Client<'a>(pub &'a HeaderMap);

impl<'a> Client<'a> {
    /// Returns the visitor's address, or 0.0.0.0 if Caddy did not send one.
    pub fn address(self) -> IpAddr {
        self.text("x-forwarded-for")
            .and_then(|list| list.rsplit(',').next())
            .and_then(|address| address.trim().parse().ok())
            .unwrap_or(IpAddr::V4(Ipv4Addr::UNSPECIFIED))
    }

    /// Returns the public port of this container that the visitor connected to, which only Caddy can set.
    pub fn port(self) -> Option<u16> {
        self.text("x-leonardo-port")?.parse().ok()
    }

    /// Returns the properties of the visitor that a session stores.
    pub fn session_origin(self) -> SessionOrigin {
        // Several servers may share an address, and all tunnels of a user end at localhost: these servers get the cookie too.
        // A host name belongs to one server.
        let authority = self.authority();
        let bound = authority.address().is_some() || authority.is_localhost();
        SessionOrigin { address: self.address(), agent: self.user_agent(), bound, device: None }
    }

    /// Returns the `User-Agent`, without quotes and control characters and cut to 200 characters.
    pub fn user_agent(self) -> String {
        let agent = self.text("user-agent").unwrap_or("unknown");
        agent.chars().filter(|letter| !letter.is_control() && *letter != '"').take(200).collect()
    }

    /// Returns host and port as the visitor entered them.
    pub fn host(self) -> Option<&'a str> {
        self.text("x-forwarded-host").or_else(|| self.text("host"))
    }

    /// Returns host and port, split.
    pub fn authority(self) -> Authority<'a> {
        Authority::parse(self.host().unwrap_or_default())
    }

    /// Returns the scheme of the visitor's URL.
    pub fn scheme(self) -> &'static str {
        if self.is_https() { "https" } else { "http" }
    }

    /// True if the visitor uses https.
    pub fn is_https(self) -> bool {
        self.text("x-forwarded-proto") == Some("https")
    }

    /// Returns the requested path and query, which need not be ASCII; empty if they are not UTF-8.
    pub fn uri(self) -> &'a str {
        let uri = self.0.get("x-forwarded-uri").map(HeaderValue::as_bytes);
        uri.map_or("/", |uri| std::str::from_utf8(uri).unwrap_or_default())
    }

    /// Returns the method of the visitor's request.
    pub fn method(self) -> Method {
        self.text("x-forwarded-method").and_then(|method| method.parse().ok()).unwrap_or(Method::GET)
    }

    /// Returns all `Cookie` headers.
    pub fn cookies(self) -> Vec<&'a [u8]> {
        self.0.get_all(header::COOKIE).iter().map(HeaderValue::as_bytes).collect()
    }

    /// True if the request opens a websocket (RFC 6455, 4.1).
    pub fn is_websocket(self) -> bool {
        self.text("upgrade").is_some_and(|upgrade| upgrade.eq_ignore_ascii_case("websocket"))
    }

    /// True if a browser will display the response as a page; false for requests of scripts and programs.
    pub fn is_browser_page(self) -> bool {
        let navigates = self.text("sec-fetch-mode").is_none_or(|mode| mode == "navigate");
        let reads = [Method::GET, Method::HEAD].contains(&self.method());
        reads
            && navigates
            && !self.is_websocket()
            && self.text("accept").is_some_and(|types| types.contains("text/html"))
    }

    /// True if a browser sent the request. Fetch metadata is missing over plain http, except on localhost.
    pub fn is_browser(self) -> bool {
        self.0.contains_key("sec-fetch-mode")
            || self.text("user-agent").is_some_and(|agent| agent.contains("Mozilla/"))
    }

    /// True if the request may change something, or opens a websocket.
    pub fn is_mutating(self) -> bool {
        self.is_websocket() || ![Method::GET, Method::HEAD, Method::OPTIONS].contains(&self.method())
    }

    /// True if a page of another origin made the browser send the request, unless it opens a page at the top level, where the
    /// person sees its address (hazard H15).
    ///
    /// `SameSite` cookies do not help: they ignore ports, and another customer of the provider may have only another port.
    ///
    /// Browsers prefetch for pages of any origin, with cookies, and do not display the response; Chromium does not name the
    /// page then.
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
            // Chromium sends "empty" if the service's own worker forwards a navigation; scripts cannot send "navigate".
            && matches!(self.text("sec-fetch-dest"), Some("document" | "empty"))
    }

    /// Returns whether the page that made the request has the same host and port; `None` if the client did not send that.
    ///
    /// Fetch metadata takes precedence over `Origin`: pages cannot set it, and a proxy that changes `Host` does not affect it.
    pub fn is_same_origin(self) -> Option<bool> {
        match self.text("sec-fetch-site") {
            Some("same-origin") => return Some(true),
            Some("same-site" | "cross-site") => return Some(false),
            _ => {}
        }
        let origin = self.0.get(header::ORIGIN)?;
        Some(origin.to_str().is_ok_and(|origin| self.is_own_origin(origin)))
    }

    /// True if an origin has the host and port of this request; the default port of the scheme may be missing.
    fn is_own_origin(self, origin: &str) -> bool {
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

    /// True if the request has a bearer token, which browsers never add by themselves.
    pub fn has_bearer(self) -> bool {
        let value = self.0.get(header::AUTHORIZATION).map(HeaderValue::as_bytes);
        value.and_then(|value| value.get(..7)).is_some_and(|scheme| scheme.eq_ignore_ascii_case(b"bearer "))
    }

    /// Returns the size of all cookies, in bytes.
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
    fn only_a_navigation_is_a_page() {
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
    fn fetch_metadata_takes_precedence_over_the_origin() {
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
    fn a_page_of_another_origin_can_only_open_a_page_at_the_top_level() {
        let top = [("sec-fetch-mode", "navigate"), ("sec-fetch-dest", "document")];
        let post = ("x-forwarded-method", "POST");
        // Pages of another port on the same host, with fetch metadata (a trustworthy origin) and without.
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
    fn writes_and_websockets_are_mutating() {
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
    fn a_preflight_has_a_method_an_origin_and_a_requested_method() {
        let headers_of_preflight = [
            ("x-forwarded-method", "OPTIONS"),
            ("origin", "http://a"),
            ("access-control-request-method", "PUT"),
        ];
        assert!(Client(&headers(&headers_of_preflight)).is_preflight());
        for missing in 0..headers_of_preflight.len() {
            let mut pairs = headers_of_preflight.to_vec();
            pairs.remove(missing);
            assert!(!Client(&headers(&pairs)).is_preflight(), "{pairs:?}");
        }
    }

    #[test]
    fn a_session_is_bound_where_other_servers_get_the_cookie() {
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
    fn the_origin_of_a_session_is_an_address_and_a_browser() {
        let long = format!("Mozilla/5.0 \"{}", "x".repeat(300));
        let pairs = [("x-forwarded-for", "192.0.2.1"), ("user-agent", &long), ("host", "192.0.2.9:1111")];
        let origin = Client(&headers(&pairs)).session_origin();
        assert_eq!((origin.address, origin.bound), (IpAddr::from([192, 0, 2, 1]), true));
        assert_eq!(origin.agent, format!("Mozilla/5.0 {}", "x".repeat(188)));
        assert_eq!(Client(&HeaderMap::new()).session_origin().agent, "unknown");
        assert_eq!(Client(&headers(&[("x-forwarded-for", "x")])).address(), IpAddr::from([0; 4]));
    }

    #[test]
    fn only_the_bearer_scheme_is_a_bearer_token() {
        let bearer = |value: &str| Client(&headers(&[("authorization", value)])).has_bearer();
        assert!(bearer("Bearer x") && bearer("bearer x") && bearer("BEARER "));
        assert!(!bearer("Bearer") && !bearer("Basic YWRh") && !bearer("Bearerx"));
        assert!(!Client(&HeaderMap::new()).has_bearer());
    }

    #[test]
    fn a_browser_is_recognized_by_its_user_agent_or_fetch_metadata() {
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
