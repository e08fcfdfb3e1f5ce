//! Placeholders of the templates. Their values are numbers, networks and fixed words, never text from outside.

use ports::Service;

use crate::settings::Settings;

/// Placeholder that every template of a service must contain.
pub const PROXY_PORT: &str = "%PROXY_PORT%";

/// Directive that every `base_config` must contain: an administration interface that other accounts cannot use.
pub const ADMIN: &str = "admin unix//run/caddy/admin.sock";
/// Address of the portal, which every `base_config` must contain.
pub const PORTAL: &str = ":1111";

/// Placeholder that every block must contain if https is enabled.
pub const TLS: &str = "%TLS%";
/// Placeholder that the options of all servers must contain if https is enabled.
pub const REDIRECT_TO_HTTPS: &str = "%REDIRECT_TO_HTTPS%";

/// Redirect of plain http to https, with the same host, port and path.
const REDIRECT: &str = "listener_wrappers {\n\t\t\thttp_redirect\n\t\t\ttls\n\t\t}";

/// Options for several upstreams. A visitor stays with one, because applications keep state in memory; the name of the cookie
/// has the port, because browsers send cookies to all ports of a host. A request whose upstream has just ended goes to another
/// one, before the registry has its new state. Caddy gives up after 50 attempts (a second) or 5 seconds; the second limit is for
/// slow attempts: a GET that ends the instance which serves it must not go through all of them.
const BALANCE: &str = "lb_policy cookie instance_%PROXY_PORT% {\n\t\t\t\tfallback least_conn\n\t\t\t}\n\t\t\t\
    lb_retries 50\n\t\t\tlb_try_duration 5s\n\t\t\tlb_try_interval 20ms\n\t\t\tfail_duration 2s";

/// Placeholders with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    /// Returns the placeholders of `base_config`.
    pub fn for_base(settings: &Settings) -> Self {
        let networks: Vec<String> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
        let (redirect, protocols) =
            if settings.certificate.is_some() { (REDIRECT, "h1 h2") } else { ("", "h1") };
        Self(vec![
            ("%TRUSTED_PROXIES%", networks.join(" ")),
            (REDIRECT_TO_HTTPS, redirect.to_owned()),
            ("%PROTOCOLS%", protocols.to_owned()),
            (TLS, tls(settings)),
        ])
    }

    /// Returns the placeholders of the template of a service.
    pub fn for_service(settings: &Settings, service: &Service) -> Self {
        let upstreams = service.upstreams();
        let balance = if upstreams.len() > 1 {
            BALANCE.replace(PROXY_PORT, &service.proxy_port.to_string())
        } else {
            String::new()
        };
        let upstreams: Vec<String> = upstreams.into_iter().map(|port| format!("127.0.0.1:{port}")).collect();
        let gate = if service.proxy_secure { "gate" } else { "open" };
        Self(vec![
            (PROXY_PORT, service.proxy_port.to_string()),
            ("%LISTEN_PORT%", service.listen_port.to_string()),
            ("%UPSTREAMS%", upstreams.join(" ")),
            ("%BALANCE%", balance),
            ("%GATE%", gate.to_owned()),
            (TLS, tls(settings)),
        ])
    }

    /// Replaces the placeholders in a text, in one pass: values are not expanded again.
    pub fn expand(&self, mut template: &str) -> String {
        let mut expanded = String::with_capacity(template.len());
        while let Some(start) = template.find('%') {
            let (before, rest) = template.split_at(start);
            expanded.push_str(before);
            let found = self.0.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
            let (taken, value) = found.map_or(("%", "%"), |(placeholder, value)| (*placeholder, value));
            expanded.push_str(value);
            template = &rest[taken.len()..];
        }
        expanded + template
    }
}

/// Returns the `tls` directive; certificate and key are in the same file.
fn tls(settings: &Settings) -> String {
    settings.certificate.as_ref().map_or_else(String::new, |file| format!("tls {0} {0}", file.display()))
}
