//! Proxy for an address, by the variables that other programs use too.

use kit::Env;
use ureq::Proxy;

use crate::address::Address;
use crate::failure::Failure;

/// Returns the proxy for an address. An invalid setting is an error, because bypassing the proxy may be forbidden.
pub fn for_address(address: &Address, env: &Env) -> Result<Option<Proxy>, Failure> {
    let Some((name, value)) = chosen(address, env) else { return Ok(None) };
    let wrong = |_| Failure::new(format!("{name} is not a proxy URL"), "set it to http://HOST:PORT");
    let plain = Proxy::new(value).map_err(wrong)?;
    let mut proxy = Proxy::builder(plain.protocol()).host(plain.host()).port(plain.port());
    if let Some(user) = plain.username() {
        proxy = proxy.username(user);
    }
    if let Some(password) = plain.password() {
        proxy = proxy.password(password);
    }
    for host in ["NO_PROXY", "no_proxy"].iter().find_map(|name| env.text(name)).unwrap_or_default().split(',')
    {
        let host = host.trim();
        if !host.is_empty() {
            proxy = proxy.no_proxy(host);
        }
    }
    proxy.build().map(Some).map_err(wrong)
}

/// Returns the variable that applies, and its value.
fn chosen<'env>(address: &Address, env: &'env Env) -> Option<(&'static str, &'env str)> {
    let names = if address.is_https() {
        ["https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"]
    } else {
        ["http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"]
    };
    names.into_iter().find_map(|name| Some((name, env.text(name)?)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn proxy(address: &str, pairs: &[(&str, &str)]) -> Result<Option<Proxy>, Failure> {
        for_address(&Address::parse(address).unwrap(), &pairs.iter().copied().collect())
    }

    #[test]
    fn each_scheme_has_its_variable_and_hosts_may_be_left_out() {
        let env = [("HTTPS_PROXY", "http://u:p%40@gate:3128"), ("ALL_PROXY", "socks5://all:1080")];
        let https = proxy("https://h/", &env).unwrap().unwrap();
        assert_eq!(
            (https.host(), https.port(), https.username(), https.password()),
            ("gate", 3128, Some("u"), Some("p@"))
        );
        assert_eq!(proxy("http://h/", &env).unwrap().unwrap().host(), "all");
        assert!(proxy("http://h/", &[]).unwrap().is_none());
        let but = proxy("http://h/", &[("http_proxy", "http://gate:1"), ("NO_PROXY", "x, .intern")]);
        let but = but.unwrap().unwrap();
        let excepted = |uri: &str| but.is_no_proxy(&uri.parse().unwrap());
        assert!(excepted("http://x/") && excepted("http://a.intern/") && !excepted("http://y/"));
    }

    #[test]
    fn a_proxy_that_cannot_be_understood_is_not_passed_by() {
        let failure = proxy("http://h/", &[("http_proxy", "http://")]).unwrap_err();
        assert_eq!(failure.cause, "http_proxy is not a proxy URL");
    }
}
