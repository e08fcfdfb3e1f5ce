//! Addresses of scripts: what may be fetched, where a redirect leads, and how an address is shown.

use std::fmt;

use ureq::http::Uri;

use crate::failure::Failure;

/// What is fetched; other schemes are refused wherever they turn up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Scheme {
    Http,
    Https,
}

impl Scheme {
    fn text(self) -> &'static str {
        match self {
            Self::Http => "http",
            Self::Https => "https",
        }
    }
}

/// An address; what is shown of it has neither login nor query, because both may be secrets.
#[derive(Clone, PartialEq, Eq)]
pub struct Address {
    pub scheme: Scheme,
    /// `user:password` as written, percent-encoded.
    login: Option<String>,
    /// Host and port, in lower case.
    pub host: String,
    path: String,
    query: Option<String>,
}

/// Why a text is no address of a script.
#[derive(Debug, PartialEq, Eq)]
pub enum NoAddress {
    /// Neither `http:` nor `https:`, but this.
    Scheme(String),
    /// Something else is wrong with it.
    Malformed,
}

impl Address {
    /// Reads an absolute address; a part behind `#` is dropped.
    pub fn parse(text: &str) -> Result<Self, NoAddress> {
        let scheme = match scheme(text) {
            Some(scheme) if scheme.eq_ignore_ascii_case("http") => Scheme::Http,
            Some(scheme) if scheme.eq_ignore_ascii_case("https") => Scheme::Https,
            Some(scheme) => return Err(NoAddress::Scheme(scheme.to_ascii_lowercase())),
            None => return Err(NoAddress::Malformed),
        };
        let uri: Uri = text.parse().map_err(|_| NoAddress::Malformed)?;
        let authority = uri.authority().ok_or(NoAddress::Malformed)?;
        let (login, host) = match authority.as_str().rsplit_once('@') {
            Some((login, host)) => (Some(login.to_owned()), host),
            None => (None, authority.as_str()),
        };
        if authority.host().is_empty() {
            return Err(NoAddress::Malformed);
        }
        Ok(Self {
            scheme,
            login,
            host: host.to_ascii_lowercase(),
            path: uri.path().to_owned(),
            query: uri.query().map(str::to_owned),
        })
    }

    /// Where a `Location` header leads from here (RFC 3986, section 5.2); without login, unless it has its own.
    pub fn follow(&self, location: &str) -> Result<Self, NoAddress> {
        if scheme(location).is_some() {
            return Self::parse(location);
        }
        let scheme = self.scheme.text();
        if let Some(rest) = location.strip_prefix("//") {
            return Self::parse(&format!("{scheme}://{rest}"));
        }
        let place = location.split('#').next().unwrap_or_default();
        let (path, query) = match place.split_once('?') {
            Some((path, query)) => (path, Some(query)),
            None => (place, None),
        };
        let path = match path {
            "" => self.path.clone(),
            path if path.starts_with('/') => without_dots(path),
            path => {
                let directory = self.path.rsplit_once('/').map_or("", |(directory, _)| directory);
                without_dots(&format!("{directory}/{path}"))
            }
        };
        let query = query.map(|query| format!("?{query}")).unwrap_or_default();
        Self::parse(&format!("{scheme}://{}{path}{query}", self.host))
    }

    /// As a request needs it: everything but the login.
    pub fn request(&self) -> String {
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        format!("{}://{}{}{query}", self.scheme.text(), self.host, self.path)
    }

    /// `user:password`, decoded, for an `Authorization` header.
    pub fn login(&self) -> Option<Vec<u8>> {
        self.login.as_ref().map(|login| decoded(login.as_bytes()))
    }

    /// The host alone, without its port.
    pub fn name(&self) -> &str {
        match self.host.rsplit_once(':') {
            Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) => name,
            _ => &self.host,
        }
    }

    /// Whether a login for the one is meant for the other: same scheme, host and port.
    pub fn same_origin(&self, other: &Self) -> bool {
        self.scheme == other.scheme && self.host == other.host
    }

    /// What of this address nobody should read in a log: the password and what the query's names stand for.
    pub fn secrets(&self) -> Vec<Vec<u8>> {
        let mut secrets = Vec::new();
        if let Some(login) = &self.login {
            secrets.extend(secrets_of(login.as_bytes()));
        }
        for pair in self.query.iter().flat_map(|query| query.split('&')) {
            let value = pair.split_once('=').map_or(pair, |(_, value)| value);
            secrets.extend([value.as_bytes().to_vec(), decoded(value.as_bytes())]);
        }
        secrets
    }

    /// What follows the host, up to the query.
    pub fn path(&self) -> &str {
        &self.path
    }
}

impl fmt::Display for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "{}://{}{}", self.scheme.text(), self.host, self.path)?;
        if self.query.is_some() { formatter.write_str("?…") } else { Ok(()) }
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "Address({self})")
    }
}

/// What was asked for, as an address.
pub fn asked_for(text: &str, mounted: &str) -> Result<Address, Failure> {
    let mount = format!("leave PROVISIONING_SCRIPT out and mount the script at {mounted}");
    match Address::parse(text) {
        Ok(address) => Ok(address),
        Err(NoAddress::Scheme(scheme)) => Err(Failure::new(
            format!("PROVISIONING_SCRIPT begins with {scheme:?}:, and only http and https are fetched"),
            if scheme == "file" { mount } else { "use an https address".to_owned() },
        )),
        Err(NoAddress::Malformed) if text.starts_with(['/', '.', '~']) => {
            Err(Failure::new("PROVISIONING_SCRIPT is a path, and not a URL", mount))
        }
        Err(NoAddress::Malformed) => Err(Failure::new(
            "PROVISIONING_SCRIPT is not a URL",
            "write it in full, such as https://example.com/setup.sh",
        )),
    }
}

/// What stands before the first colon, if that makes it an absolute address (RFC 3986, section 3.1).
fn scheme(text: &str) -> Option<&str> {
    let (scheme, _) = text.split_once(':')?;
    let mut bytes = scheme.bytes();
    let plain = bytes.next().is_some_and(|first| first.is_ascii_alphabetic())
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(&byte));
    plain.then_some(scheme)
}

/// The password of a login, or the whole of it if that is all there is, as it is written and as it is meant.
pub fn secrets_of(login: &[u8]) -> [Vec<u8>; 2] {
    let colon = login.iter().position(|&byte| byte == b':');
    let secret = colon.map_or(login, |colon| &login[colon + 1..]);
    [secret.to_vec(), decoded(secret)]
}

/// Takes `.` and `..` out of a path.
fn without_dots(path: &str) -> String {
    let mut kept: Vec<&str> = Vec::new();
    let mut parts = path.split('/').skip(1).peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        match part {
            "." | ".." => {
                if part == ".." {
                    kept.pop();
                }
                if last {
                    kept.push("");
                }
            }
            part => kept.push(part),
        }
    }
    format!("/{}", kept.join("/"))
}

fn decoded(bytes: &[u8]) -> Vec<u8> {
    let mut plain = Vec::with_capacity(bytes.len());
    let mut index = 0;
    while index < bytes.len() {
        let pair = bytes.get(index + 1..index + 3).and_then(|pair| std::str::from_utf8(pair).ok());
        match pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            Some(byte) if bytes[index] == b'%' => {
                plain.push(byte);
                index += 3;
            }
            _ => {
                plain.push(bytes[index]);
                index += 1;
            }
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> Address {
        Address::parse(text).unwrap()
    }

    #[test]
    fn what_is_shown_has_no_secrets_and_what_is_requested_no_login() {
        let full = address("HTTPS://ada:p%40ss@Example.COM:8443/a/b.sh?token=abc&x=1#top");
        assert_eq!(full.to_string(), "https://example.com:8443/a/b.sh?…");
        assert_eq!(format!("{full:?}"), "Address(https://example.com:8443/a/b.sh?…)");
        assert_eq!(full.request(), "https://example.com:8443/a/b.sh?token=abc&x=1");
        assert_eq!(full.login().unwrap(), b"ada:p@ss");
        assert_eq!(full.name(), "example.com");
        let secrets: Vec<_> = full.secrets().into_iter().map(|s| String::from_utf8(s).unwrap()).collect();
        assert_eq!(secrets, ["p%40ss", "p@ss", "abc", "abc", "1", "1"]);
        assert_eq!(address("http://h").request(), "http://h/");
        assert_eq!(address("http://[::1]:80/x").name(), "[::1]");
        assert_eq!(address("http://[::1]/x").name(), "[::1]");
    }

    #[test]
    fn what_is_no_address_has_its_own_message() {
        let cause = |text: &str| {
            let failure = asked_for(text, "/m.sh").unwrap_err();
            (failure.cause, failure.hint)
        };
        let mount = "leave PROVISIONING_SCRIPT out and mount the script at /m.sh";
        assert_eq!(
            cause("/root/x.sh"),
            ("PROVISIONING_SCRIPT is a path, and not a URL".into(), mount.into())
        );
        assert_eq!(
            cause("file:///root/x.sh"),
            (
                "PROVISIONING_SCRIPT begins with \"file\":, and only http and https are fetched".into(),
                mount.into()
            )
        );
        assert_eq!(cause("ftp://h/x").1, "use an https address");
        for wrong in ["example.com/x.sh", "https://", "https:///x", "https://a b/x", "http://ä.de/"] {
            assert_eq!(cause(wrong).0, "PROVISIONING_SCRIPT is not a URL", "{wrong}");
        }
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
            let next = base.follow(location).unwrap();
            assert_eq!((next.request().as_str(), next.login()), (expected, None), "{location}");
        }
        assert_eq!(base.follow("file:///etc/shadow"), Err(NoAddress::Scheme("file".into())));
        assert_eq!(base.follow("https://[x"), Err(NoAddress::Malformed));
    }

    #[test]
    fn a_login_is_for_one_scheme_host_and_port() {
        let first = address("https://h/x");
        assert!(first.same_origin(&address("https://H/y")));
        for other in ["http://h/x", "https://h:444/x", "https://g/x"] {
            assert!(!first.same_origin(&address(other)), "{other}");
        }
    }
}
