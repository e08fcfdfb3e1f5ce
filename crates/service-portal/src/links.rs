//! Links to the services: where each is for this visitor, and whether it answers now.

use std::net::Ipv4Addr;
use std::time::Duration;

use kit::Env;
use ports::Service;
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::time::timeout;

/// A service on loopback accepts at once or not at all.
const PATIENCE: Duration = Duration::from_millis(250);

/// One line of the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// The service's name.
    pub name: String,
    /// Its public port inside the container.
    pub port: u16,
    /// Where this visitor finds it; nothing if the provider does not publish the port.
    pub url: Option<String>,
    /// Whether the service accepts connections.
    pub alive: bool,
    /// Whether the gate asks for a login.
    pub protected: bool,
}

/// Links to all services, each looked at now, all at the same time.
pub async fn links(services: Vec<Service>, env: &Env, host: Option<&str>) -> Vec<Link> {
    let looks: Vec<_> = services.iter().map(|service| tokio::spawn(is_alive(service.listen_port))).collect();
    let mut links = Vec::with_capacity(services.len());
    for (service, look) in services.into_iter().zip(looks) {
        let alive = look.await.unwrap_or(false);
        let url = address(&service, env, host);
        let Service { service_name: name, proxy_port: port, proxy_secure: protected, .. } = service;
        links.push(Link { name, port, url, alive, protected });
    }
    links
}

async fn is_alive(port: u16) -> bool {
    matches!(timeout(PATIENCE, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await, Ok(Ok(_)))
}

fn address(service: &Service, env: &Env, host: Option<&str>) -> Option<String> {
    Some(origin(service, env, host)? + &service.service_url)
}

/// What the provider publishes, else the visitor's own way here with the service's port.
pub fn origin(service: &Service, env: &Env, host: Option<&str>) -> Option<String> {
    let provider = cloud::detect(env);
    let origin = provider.address(env, service.proxy_port).or_else(|| {
        let host = host_name(host?)?;
        (provider.name() == "local").then(|| format!("http://{host}:{}", service.proxy_port))
    })?;
    Some(cloud::as_spoken(env, origin))
}

/// The host without its port; nothing if it could change a link's meaning.
fn host_name(host: &str) -> Option<&str> {
    let name = match host.rfind(']') {
        Some(end) => &host[..=end],
        None => host.split(':').next().unwrap_or_default(),
    };
    let plain = name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b".-[]:".contains(&byte));
    (plain && !name.is_empty()).then_some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn service() -> Service {
        Service {
            service_name: "Jupyter".into(),
            listen_port: 1,
            proxy_port: 8888,
            metrics_port: None,
            proxy_secure: true,
            service_url: "/lab".into(),
            log: None,
        }
    }

    fn url(pairs: &[(&str, &str)], host: &str) -> Option<String> {
        address(&service(), &pairs.iter().copied().collect(), Some(host))
    }

    #[test]
    fn a_link_leads_where_this_visitor_can_go() {
        assert_eq!(url(&[], "gpu.lan:1111"), Some("http://gpu.lan:8888/lab".into()));
        assert_eq!(url(&[], "[::1]:1111"), Some("http://[::1]:8888/lab".into()));
        assert_eq!(
            url(&[("DIRECT_ADDRESS", "lab.example")], "x"),
            Some("http://lab.example:8888/lab".into())
        );
        let vast = [("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "192.0.2.9")];
        assert_eq!(url(&vast, "x"), None, "a port that the provider does not publish has no link");
        assert_eq!(url(&[], "\"><script>"), None);
    }
}
