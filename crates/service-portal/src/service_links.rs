//! Links to the services, with the URL for this visitor and the current state.

use std::net::Ipv4Addr;
use std::time::Duration;

use kit::{Env, unix_time};
use ports::{Instance, Service, Status};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::client::Client;
use crate::service_state::{State, may_be_running};

/// Timeout for a connection to a service; on loopback, it is accepted at once or not at all.
const CONNECT_TIMEOUT: Duration = Duration::from_millis(250);

/// One service on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Link {
    /// Name of the service.
    pub name: String,
    /// Public port inside the container.
    pub port: u16,
    /// URL for this visitor; `None` if the provider does not publish the port.
    pub url: Option<String>,
    /// True if the service requires a login.
    pub protected: bool,
    /// State of the service.
    #[serde(flatten)]
    pub state: State,
    /// Programs that are balanced behind the port; empty for a service of one program.
    pub instances: Vec<InstanceLink>,
}

/// One instance of a service on the page.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct InstanceLink {
    /// Display name, such as the name of its GPU.
    pub label: String,
    /// Port on loopback.
    pub port: u16,
    /// State of the instance.
    #[serde(flatten)]
    pub state: State,
}

/// Returns links to all services; their states are checked in parallel.
pub async fn service_links(services: Vec<Service>, env: &Env, client: Client<'_>) -> Vec<Link> {
    let checks: Vec<_> = services.iter().map(start_checks).collect();
    let mut links = Vec::with_capacity(services.len());
    for (service, checks) in services.into_iter().zip(checks) {
        let mut accepts = Vec::with_capacity(checks.len());
        for check in checks {
            accepts.push(check.await.unwrap_or(false));
        }
        let url = service_url(&service, env, client);
        links.push(link(service, url, &accepts, unix_time::now()));
    }
    links
}

/// Starts to check which instances accept connections, or the service without instances.
fn start_checks(service: &Service) -> Vec<JoinHandle<bool>> {
    let check = |port: u16, status: Option<&Status>| {
        let may_be_running = may_be_running(status);
        tokio::spawn(async move { may_be_running && accepts_connections(port).await })
    };
    if service.instances.is_empty() {
        return vec![check(service.listen_port, service.status.as_ref())];
    }
    service.instances.iter().map(|instance| check(instance.listen_port, Some(&instance.status))).collect()
}

fn link(service: Service, url: Option<String>, accepts: &[bool], now: u64) -> Link {
    let state = State::new(service.status.as_ref(), accepts.contains(&true), now);
    let of_instance = |(Instance { listen_port: port, label, status }, accepts): (_, &bool)| InstanceLink {
        label,
        port,
        state: State::new(Some(&status), *accepts, now),
    };
    let instances = service.instances.into_iter().zip(accepts).map(of_instance).collect();
    let Service { service_name: name, proxy_port: port, proxy_secure: protected, .. } = service;
    Link { name, port, url, protected, state, instances }
}

async fn accepts_connections(port: u16) -> bool {
    matches!(timeout(CONNECT_TIMEOUT, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await, Ok(Ok(_)))
}

fn service_url(service: &Service, env: &Env, client: Client<'_>) -> Option<String> {
    Some(public_origin(service.proxy_port, env, client)? + &service.service_url)
}

/// Returns the origin of a public port: the one that the provider publishes, otherwise the visitor's host with that port, or
/// with the number under which the user published it.
pub fn public_origin(port: u16, env: &Env, client: Client<'_>) -> Option<String> {
    let visited = client.authority();
    let keeps_numbers = visited.port.is_some() && visited.port == client.port();
    cloud::address_for_visitor(env, port, visited.safe_name(), keeps_numbers)
}

/// Returns the origin of the portal for a visitor of another port. `None` on the portal's own port, and where the origin is
/// unknown: through a tunnel or another proxy, or if ports are published under other numbers.
pub fn portal_origin(env: &Env, client: Client<'_>) -> Option<String> {
    let port = client.port().filter(|&port| port != ports::PORTAL)?;
    let here = public_origin(port, env, client)?;
    let came = format!("{}://{}", client.scheme(), client.host()?);
    here.eq_ignore_ascii_case(&came).then(|| public_origin(ports::PORTAL, env, client))?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::tests::headers;

    fn service() -> Service {
        Service {
            service_name: "Jupyter".into(),
            listen_port: 1,
            proxy_port: 8888,
            service_url: "/lab".into(),
            ..Service::default()
        }
    }

    fn url(pairs: &[(&str, &str)], host: &str) -> Option<String> {
        let headers = headers(&[("x-forwarded-host", host), ("x-leonardo-port", "1111")]);
        service_url(&service(), &pairs.iter().copied().collect(), Client(&headers))
    }

    fn portal_of(pairs: &[(&str, &str)], scheme: &str, host: &str, port: &str) -> Option<String> {
        let headers =
            headers(&[("x-forwarded-proto", scheme), ("x-forwarded-host", host), ("x-leonardo-port", port)]);
        portal_origin(&pairs.iter().copied().collect(), Client(&headers))
    }

    #[test]
    fn the_portals_origin_is_known_if_ports_keep_their_numbers_or_the_provider_publishes_them() {
        assert_eq!(portal_of(&[], "http", "gpu.lan:8188", "8188"), Some("http://gpu.lan:1111".into()));
        assert_eq!(portal_of(&[], "http", "[::1]:8188", "8188"), Some("http://[::1]:1111".into()));
        let https = [("WEB_ENABLE_HTTPS", "true")];
        assert_eq!(portal_of(&https, "https", "h:8188", "8188"), Some("https://h:1111".into()));
        assert_eq!(portal_of(&https, "http", "h:8188", "8188"), None, "a proxy in front");
        assert_eq!(portal_of(&[], "http", "h:28188", "8188"), None, "published under another number");
        assert_eq!(portal_of(&[], "https", "abc.tunnel.example", "8188"), None, "a tunnel");
        assert_eq!(portal_of(&[], "http", "h:1111", "1111"), None, "already at the portal");
        let mapped = [("MAPPED_TCP_PORT_1111", "1112"), ("MAPPED_TCP_PORT_8188", "28188")];
        assert_eq!(portal_of(&mapped, "http", "h:28188", "8188"), Some("http://h:1112".into()));
        let inside = portal_of(&mapped, "http", "localhost:8188", "8188");
        assert_eq!(inside, Some("http://localhost:1111".into()), "through an SSH tunnel");
        let pod = [("RUNPOD_POD_ID", "abc")];
        let of = |port: &str| format!("abc-{port}.proxy.runpod.net");
        assert_eq!(portal_of(&pod, "https", &of("8188"), "8188"), Some(format!("https://{}", of("1111"))));
        let vast = [
            ("VAST_CONTAINERLABEL", "C.1"),
            ("PUBLIC_IPADDR", "192.0.2.9"),
            ("VAST_TCP_PORT_1111", "41111"),
            ("VAST_TCP_PORT_8188", "48188"),
        ];
        assert_eq!(
            portal_of(&vast, "http", "192.0.2.9:48188", "8188"),
            Some("http://192.0.2.9:41111".into())
        );
        assert_eq!(portal_of(&vast, "http", "localhost:8188", "8188"), None, "through an SSH tunnel");
    }

    #[test]
    fn a_link_has_the_host_of_the_visitor_or_the_provider() {
        assert_eq!(url(&[], "gpu.lan:1111"), Some("http://gpu.lan:8888/lab".into()));
        assert_eq!(url(&[], "[::1]:1111"), Some("http://[::1]:8888/lab".into()));
        assert_eq!(
            url(&[("DIRECT_ADDRESS", "lab.example")], "x"),
            Some("http://lab.example:8888/lab".into())
        );
        let vast = [("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "192.0.2.9")];
        assert_eq!(url(&vast, "x"), None, "a port that the provider does not publish has no link");
        assert_eq!(url(&[], "\"><script>"), None);
        let mapped = [("MAPPED_TCP_PORT_8888", "28888")];
        assert_eq!(url(&mapped, "gpu.lan:1112"), Some("http://gpu.lan:28888/lab".into()));
        assert_eq!(url(&mapped, "localhost:1111"), Some("http://localhost:8888/lab".into()), "SSH tunnel");
    }
}
