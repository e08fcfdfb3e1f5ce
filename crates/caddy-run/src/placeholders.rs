//! What placeholders stand for: numbers, networks and words of ours, never a text that somebody else chose.

use ports::Service;

use crate::settings::Settings;

/// Whether the template of a service's block has what every block needs.
pub const PROXY_PORT: &str = "%PROXY_PORT%";

/// What every `base_config` needs: an administration interface that other accounts cannot reach, and the portal's port.
pub const ADMIN: &str = "admin unix//run/caddy/admin.sock";
pub const PORTAL: &str = ":1111";

/// What the blocks of all ports need while https is on.
pub const TLS: &str = "%TLS%";
/// What the options of all servers need while https is on.
pub const REDIRECT_TO_HTTPS: &str = "%REDIRECT_TO_HTTPS%";

/// Plain http on a port that speaks https is sent to https: same host, port and path.
const REDIRECT: &str = "listener_wrappers {\n\t\t\thttp_redirect\n\t\t\ttls\n\t\t}";

/// Placeholders with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Placeholders(Vec<(&'static str, String)>);

impl Placeholders {
    /// What `base_config` can use.
    pub fn for_base(settings: &Settings) -> Self {
        let networks: Vec<String> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
        let (redirect, protocols) = if settings.pair.is_some() { (REDIRECT, "h1 h2") } else { ("", "h1") };
        Self(vec![
            ("%TRUSTED_PROXIES%", networks.join(" ")),
            (REDIRECT_TO_HTTPS, redirect.to_owned()),
            ("%PROTOCOLS%", protocols.to_owned()),
            (TLS, tls(settings)),
        ])
    }

    /// What the template of a service can use.
    pub fn for_service(settings: &Settings, service: &Service) -> Self {
        let gate = if service.proxy_secure { "gate" } else { "open" };
        Self(vec![
            (PROXY_PORT, service.proxy_port.to_string()),
            ("%LISTEN_PORT%", service.listen_port.to_string()),
            ("%GATE%", gate.to_owned()),
            (TLS, tls(settings)),
        ])
    }

    /// A template's text with the placeholders filled, in one pass: a value is never looked at again.
    pub fn expand(&self, mut template: &str) -> String {
        let mut filled = String::with_capacity(template.len());
        while let Some(start) = template.find('%') {
            let (before, rest) = template.split_at(start);
            filled.push_str(before);
            let found = self.0.iter().find(|(placeholder, _)| rest.starts_with(placeholder));
            let (taken, value) = found.map_or(("%", "%"), |(placeholder, value)| (*placeholder, value));
            filled.push_str(value);
            template = &rest[taken.len()..];
        }
        filled + template
    }
}

/// Caddy's directive with a path of ours, twice: certificate and key are in the same file.
fn tls(settings: &Settings) -> String {
    settings.pair.as_ref().map_or_else(String::new, |pair| format!("tls {0} {0}", pair.display()))
}
