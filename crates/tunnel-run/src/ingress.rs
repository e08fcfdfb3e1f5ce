//! Hostnames of a named tunnel.

use kit::quote::escape_control_line;
use kit::settings::is_host;
use ports::Service;
use serde::Deserialize;

/// Hostnames that are listed.
const MAX_HOSTNAMES: usize = 100;

/// A hostname that leads to a port of the container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Hostname {
    /// The hostname; with `raw_port` also a pattern such as `*.example.com`, without control characters.
    pub name: String,
    /// Public port of the service, or of the portal.
    pub port: u16,
    /// Port behind the gate to which the hostname leads instead, so that visitors need no login.
    pub raw_port: Option<u16>,
}

#[derive(Deserialize)]
struct Answer {
    config: Configuration,
}

#[derive(Deserialize)]
struct Configuration {
    #[serde(default)]
    ingress: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    #[serde(default)]
    hostname: String,
    /// A rule for a part of the paths is no address of a service.
    #[serde(default)]
    path: Option<String>,
    service: String,
}

/// Returns the hostnames that lead to the portal or to a service of the registry, in the order of their ports. A rule that
/// leads past the gate counts for any hostname, path and protocol.
pub fn hostnames(configuration: &[u8], services: &[Service]) -> Vec<Hostname> {
    let Ok(Answer { config }) = serde_json::from_slice(configuration) else { return Vec::new() };
    let mut found: Vec<Hostname> = config
        .ingress
        .into_iter()
        .filter_map(|Rule { hostname, path, service }| {
            let target = loopback_port(&service)?;
            if target == ports::PORTAL || services.iter().any(|service| service.proxy_port == target) {
                let is_address = service.starts_with("http")
                    && is_host(&hostname)
                    && path.as_deref().unwrap_or_default().is_empty();
                return is_address.then_some(Hostname { name: hostname, port: target, raw_port: None });
            }
            let past_gate = services.iter().find(|service| {
                let instances = service.instances.iter().map(|instance| instance.listen_port);
                service.proxy_secure && instances.chain([service.listen_port]).any(|port| port == target)
            })?;
            let name = if hostname.is_empty() { "*".to_owned() } else { escape_control_line(&hostname) };
            Some(Hostname { name, port: past_gate.proxy_port, raw_port: Some(target) })
        })
        .take(MAX_HOSTNAMES)
        .collect();
    found.sort_by_key(|hostname| hostname.port);
    found
}

/// Returns the port of a URL such as `http://localhost:8188`, if its host is this container.
fn loopback_port(service: &str) -> Option<u16> {
    let (scheme, rest) = service.split_once("://")?;
    let default = match scheme {
        "http" => Some(80),
        "https" => Some(443),
        _ => None,
    };
    let authority = rest.split('/').next()?;
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().ok()?),
        _ => (authority, default?),
    };
    let is_here = matches!(host, "[::1]" | "0.0.0.0" | "[::]")
        || host.starts_with("127.")
        || host.eq_ignore_ascii_case("localhost");
    is_here.then_some(port)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostname_belongs_to_the_service_to_which_it_leads() {
        let service = |proxy_port: u16| Service {
            service_name: "x".into(),
            proxy_port,
            listen_port: proxy_port + 10_000,
            proxy_secure: proxy_port != 3000,
            instances: serde_json::from_value(serde_json::json!([
                {"listen_port": proxy_port + 20_000, "label": "x", "status": {"phase": "running", "since": 0}}
            ]))
            .unwrap(),
            ..Service::default()
        };
        let configuration = r#"{"version":7,"config":{"ingress":[
            {"hostname":"comfy.example.com","path":null,"service":"https://127.0.0.1:8188/","originRequest":{}},
            {"hostname":"portal.example.com","service":"http://localhost:1111"},
            {"hostname":"raw.example.com","service":"http://localhost:18188"},
            {"hostname":"open.example.com","service":"http://localhost:13000"},
            {"hostname":"other.example.com","service":"http://localhost:9999"},
            {"hostname":"elsewhere.example.com","service":"http://10.0.0.1:8188"},
            {"hostname":"part.example.com","path":"^/api","service":"http://localhost:8188"},
            {"hostname":"*.example.com","service":"http://localhost:8188"},
            {"hostname":"evil/example","service":"http://localhost:8188"},
            {"hostname":"ssh.example.com","service":"ssh://localhost:22"},
            {"hostname":"tcp.example.com","service":"tcp://localhost:8188"},
            {"hostname":"*.example.com","service":"http://LocalHost:18188"},
            {"hostname":"part.example.com","path":"^/api","service":"http://localhost:18188"},
            {"hostname":"tcp.example.com","service":"tcp://localhost:18188"},
            {"hostname":"instance.example.com","service":"http://localhost:28188"},
            {"service":"http://localhost:18188"},
            {"service":"http_status:404"}],"warp-routing":{}}}"#;
        let found = hostnames(configuration.as_bytes(), &[service(3000), service(8188)]);
        let hostname = |name: &str, port, raw_port| Hostname { name: name.into(), port, raw_port };
        assert_eq!(
            found,
            [
                hostname("portal.example.com", 1111, None),
                hostname("comfy.example.com", 8188, None),
                hostname("raw.example.com", 8188, Some(18188)),
                hostname("*.example.com", 8188, Some(18188)),
                hostname("part.example.com", 8188, Some(18188)),
                hostname("tcp.example.com", 8188, Some(18188)),
                hostname("instance.example.com", 8188, Some(28188)),
                hostname("*", 8188, Some(18188)),
            ]
        );
    }

    #[test]
    fn a_configuration_that_is_missing_or_damaged_has_no_hostnames() {
        for text in ["", "{}", "[]", r#"{"version":-1,"config":{"ingress":[]}}"#, r#"{"config":{}}"#] {
            assert_eq!(hostnames(text.as_bytes(), &[]), [], "{text}");
        }
    }

    #[test]
    fn the_port_of_a_url_is_known_if_its_host_is_this_container() {
        for (service, port) in [
            ("http://localhost:8188", Some(8188)),
            ("https://localhost", Some(443)),
            ("http://[::1]:80/x", Some(80)),
            ("http://[::1]", Some(80)),
            ("http://localhost:70000", None),
            ("http://example.com:8188", None),
            ("tcp://localhost:1111", Some(1111)),
            ("tcp://localhost", None),
            ("http_status:404", None),
        ] {
            assert_eq!(loopback_port(service), port, "{service}");
        }
    }
}
