//! What placeholders stand for: numbers, networks and words of ours, never a text that somebody else chose.

use ports::Service;

use crate::settings::Settings;

/// Whether the template of a service's block has what every block needs.
pub const PROXY_PORT: &str = "%PROXY_PORT%";

/// Placeholders with their values.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Words(Vec<(&'static str, String)>);

impl Words {
    /// What `base_config` can use.
    pub fn of_base(settings: &Settings) -> Self {
        let networks: Vec<String> = settings.trusted_proxies.iter().map(ToString::to_string).collect();
        Self(vec![("%TRUSTED_PROXIES%", networks.join(" "))])
    }

    /// What the template of a service can use.
    pub fn of_service(service: &Service) -> Self {
        let gate = if service.proxy_secure { "gate" } else { "open" };
        Self(vec![
            (PROXY_PORT, service.proxy_port.to_string()),
            ("%LISTEN_PORT%", service.listen_port.to_string()),
            ("%GATE%", gate.to_owned()),
        ])
    }

    /// A template's text with the placeholders filled, in one pass: a value is never looked at again.
    pub fn fill(&self, mut template: &str) -> String {
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
