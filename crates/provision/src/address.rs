//! Addresses of scripts: which ones are fetched, where a redirect leads, and how an address is shown.

use std::fmt;

use percent_encoding::percent_decode;
use ureq::http::Uri;
use url::{Position, Url};

use crate::failure::Failure;

/// Address of a script, read as a browser reads it.
///
/// Shown without login and query, because both may be secrets.
#[derive(Clone)]
pub struct Address {
    url: Url,
    /// Query as it was typed: a script may print the variable, and masks match bytes.
    typed_query: Option<String>,
}

/// Compares what is requested, not how it was typed: a redirect may lead back to an address.
impl PartialEq for Address {
    fn eq(&self, other: &Self) -> bool {
        self.url == other.url
    }
}

impl Eq for Address {}

/// Reason for which a text is not the address of a script.
#[derive(Debug, PartialEq, Eq)]
pub enum InvalidAddress {
    /// Its scheme, which is neither `http` nor `https`.
    Scheme(String),
    Malformed,
}

impl Address {
    /// Parses an absolute address, without the part behind `#`.
    ///
    /// Forms in which only a browser finds the host, such as `https:/h` or a login with a blank, are invalid: they hide the
    /// login from every tool that masks logins.
    pub fn parse(text: &str) -> Result<Self, InvalidAddress> {
        let address = Self::checked(Url::parse(text))?;
        let text = text.split_once('#').map_or(text, |(text, _)| text);
        let (place, query) = text.split_once('?').map_or((text, None), |(place, query)| (place, Some(query)));
        let has_host = place.split_once("://").is_some_and(|(_, rest)| !rest.starts_with('/'));
        let is_odd = |c: char| c.is_whitespace() || c.is_control();
        if !has_host || place.contains('\\') || text.contains(is_odd) {
            return Err(InvalidAddress::Malformed);
        }
        Ok(Self { typed_query: query.map(str::to_owned), ..address })
    }

    /// Resolves a `Location` header. The result has a login only if the header has one.
    pub fn join(&self, location: &str) -> Result<Self, InvalidAddress> {
        Self::checked(self.without_login().join(location))
    }

    fn checked(parsed: Result<Url, url::ParseError>) -> Result<Self, InvalidAddress> {
        let mut url = parsed.map_err(|_| InvalidAddress::Malformed)?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(InvalidAddress::Scheme(url.scheme().to_owned()));
        }
        url.set_fragment(None);
        let address = Self { url, typed_query: None };
        // A host such as `${HOST}` is one for a browser, and none for the client.
        address.to_request().parse::<Uri>().map_err(|_| InvalidAddress::Malformed)?;
        Ok(address)
    }

    fn without_login(&self) -> Url {
        let mut url = self.url.clone();
        // They fail for addresses without a host, which are none.
        let _ = url.set_username("").and_then(|()| url.set_password(None));
        url
    }

    /// Returns the address for a request: everything but the login.
    pub fn to_request(&self) -> String {
        self.without_login().into()
    }

    pub fn is_https(&self) -> bool {
        self.url.scheme() == "https"
    }

    /// Host, and port unless it is the scheme's own.
    pub fn host(&self) -> &str {
        &self.url[Position::BeforeHost..Position::AfterPort]
    }

    pub fn host_name(&self) -> &str {
        self.url.host_str().unwrap_or_default()
    }

    pub fn path(&self) -> &str {
        self.url.path()
    }

    /// Returns `user:password`, decoded, for an `Authorization` header.
    pub fn login(&self) -> Option<Vec<u8>> {
        let (user, password) = (self.url.username(), self.url.password());
        let has_login = !user.is_empty() || password.is_some();
        has_login.then(|| [decoded(user), b":".to_vec(), decoded(password.unwrap_or_default())].concat())
    }

    /// True if a login for the one is meant for the other: same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.url.origin() == other.url.origin()
    }

    /// Returns the password, or a user without one, and the values in the query, these also as typed, each as sent and as
    /// meant.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let login =
            Some(self.url.password().unwrap_or(self.url.username())).filter(|login| !login.is_empty());
        let queries = self.url.query().into_iter().chain(self.typed_query.as_deref());
        let pairs = queries.flat_map(|query| query.split('&'));
        let values = pairs.map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
        let mut secrets: Vec<Vec<u8>> =
            login.into_iter().chain(values).flat_map(|secret| [secret.into(), decoded(secret)]).collect();
        secrets.sort();
        secrets.dedup();
        secrets
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.url.scheme(), self.host(), self.path())?;
        if self.url.query().is_some() { formatter.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

/// Parses the setting `PROVISIONING_SCRIPT`.
pub fn parse_setting(text: &str, mounted: &str) -> Result<Address, Failure> {
    let mount = format!("unset PROVISIONING_SCRIPT and mount the script at {mounted}");
    match Address::parse(text) {
        Ok(address) => Ok(address),
        Err(InvalidAddress::Scheme(scheme)) => Err(Failure::new(
            format!("PROVISIONING_SCRIPT begins with {scheme:?}:, only http and https are supported"),
            if scheme == "file" { mount } else { "use an https address".to_owned() },
        )),
        Err(InvalidAddress::Malformed) if text.starts_with(['/', '.', '~']) => {
            Err(Failure::new("PROVISIONING_SCRIPT is a path, not a URL", mount))
        }
        Err(InvalidAddress::Malformed) => Err(Failure::new(
            "PROVISIONING_SCRIPT is not a URL",
            "write it in full, such as https://example.com/setup.sh",
        )),
    }
}

fn decoded(text: &str) -> Vec<u8> {
    percent_decode(text.as_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn displayed_addresses_have_no_secrets_and_requested_ones_no_login() {
        let full = address("HTTPS://ada:p%40ss@Example.COM:8443/a/b.sh?token=abc&x=1#top");
        assert_eq!(full.to_string(), "https://example.com:8443/a/b.sh?…");
        assert_eq!(format!("{full:?}"), "Address(https://example.com:8443/a/b.sh?…)");
        assert_eq!(full.to_request(), "https://example.com:8443/a/b.sh?token=abc&x=1");
        assert_eq!(full.login().unwrap(), b"ada:p@ss");
        assert_eq!(full.host_name(), "example.com");
        let secrets: Vec<_> = full.secrets().into_iter().map(|s| String::from_utf8(s).unwrap()).collect();
        assert_eq!(secrets, ["1", "abc", "p%40ss", "p@ss"]);
        let mixed = address("https://h/x?token=abc'def%3D").secrets();
        assert!(mixed.contains(&b"abc'def%3D".to_vec()), "a script prints it as it was typed");
        assert_eq!(address("http://h").to_request(), "http://h/");
        assert_eq!(address("http://[::1]:80/x").host_name(), "[::1]");
        assert_eq!(address("http://[::1]/x").host_name(), "[::1]");
    }

    #[test]
    fn an_invalid_address_has_its_own_message() {
        let cause = |text: &str| {
            let failure = parse_setting(text, "/m.sh").unwrap_err();
            (failure.cause, failure.hint)
        };
        let mount = "unset PROVISIONING_SCRIPT and mount the script at /m.sh";
        assert_eq!(cause("/root/x.sh"), ("PROVISIONING_SCRIPT is a path, not a URL".into(), mount.into()));
        assert_eq!(
            cause("file:///root/x.sh"),
            (
                "PROVISIONING_SCRIPT begins with \"file\":, only http and https are supported".into(),
                mount.into()
            )
        );
        assert_eq!(cause("ftp://h/x").1, "use an https address");
        assert!(cause("example.com:80/x").0.contains("begins with \"example.com\":"));
        assert!(cause("C:\\x").0.contains("begins with \"c\":"));
        for wrong in [
            "example.com/x.sh",
            "https://",
            "https://[x",
            "https://a b/x",
            "http://ä.de/",
            "http://h:65536/",
            "https://${HOST}/x",
            "https://{{host}}/x",
            "https:///u:p@h/x",
            "https:u:p@h/x",
            "https:\\\\u:p@h\\x",
            "https://u:my pass@h/x",
            "https://h/a b.sh",
            "https://h/x?token=a\nb",
        ] {
            assert_eq!(cause(wrong).0, "PROVISIONING_SCRIPT is not a URL", "{wrong}");
        }
    }

    #[test]
    fn an_address_is_read_as_a_browser_reads_it() {
        for (text, expected) in [
            ("https://h:443/x", "https://h/x"),
            ("http://H:0443/x", "http://h:443/x"),
            ("https://h/x?a=\\", "https://h/x?a=\\"),
            ("http://127.1/", "http://127.0.0.1/"),
            ("http://0x7f.1/", "http://127.0.0.1/"),
            ("https://h/a/../b/%2e%2E/c", "https://h/c"),
            ("https://xn--4ca.de/x", "https://xn--4ca.de/x"),
            ("https://h/a|b^c?d=`{}|", "https://h/a|b^c?d=`{}|"),
        ] {
            assert_eq!(address(text).to_request(), expected, "{text}");
        }
    }

    #[test]
    fn a_login_is_sent_as_meant_and_masked_in_both_forms() {
        let text = |bytes: Vec<u8>| String::from_utf8(bytes).unwrap();
        for (login, sent, secrets) in [
            ("token", "token:", &["token"][..]),
            ("token:", "token:", &["token"]),
            (":p", ":p", &["p"]),
            ("u:a{b@d", "u:a{b@d", &["a%7Bb%40d", "a{b@d"]),
        ] {
            let full = address(&format!("https://{login}@h/x"));
            assert_eq!(text(full.login().unwrap()), sent);
            assert_eq!(full.secrets().into_iter().map(text).collect::<Vec<_>>(), secrets, "{login}");
            assert_eq!(full.to_request(), "https://h/x");
        }
        assert_eq!((address("https://h/x").login(), address("https://h/x").secrets()), (None, Vec::new()));
    }

    #[test]
    fn a_redirect_leads_where_a_browser_would_go() {
        let base = address("https://u:p@h:1/a/b/c?q=1");
        for (location, expected) in [
            ("http://other/x?y", "http://other/x?y"),
            ("//other/x", "https://other/x"),
            ("/x/./y/../z", "https://h:1/x/z"),
            ("d", "https://h:1/a/b/d"),
            ("../d?e=f#g", "https://h:1/a/d?e=f"),
            ("../../../..", "https://h:1/"),
            ("?z", "https://h:1/a/b/c?z"),
        ] {
            let next = base.join(location).unwrap();
            assert_eq!((next.to_request().as_str(), next.login()), (expected, None), "{location}");
        }
        assert_eq!(base.join("file:///etc/shadow"), Err(InvalidAddress::Scheme("file".into())));
        assert_eq!(base.join("https://[x"), Err(InvalidAddress::Malformed));
    }

    #[test]
    fn a_login_is_for_one_scheme_host_and_port() {
        let first = address("https://h/x");
        assert!(first.same_origin(&address("https://H/y")));
        assert!(first.same_origin(&address("https://h:443/x")));
        for other in ["http://h/x", "https://h:444/x", "https://g/x"] {
            assert!(!first.same_origin(&address(other)), "{other}");
        }
    }
}
