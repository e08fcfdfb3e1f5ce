//! Links to the services, with the URL for this visitor and the current state.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::time::Duration;

use journal::LogOwner;
use kit::unix_time;
use ports::{Instance, Phase, Service, Status};
use serde::Serialize;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::origins::{Origins, TunnelLink};
use crate::service_address::{ServiceAddress, addresses};
use crate::service_state::{State, without_stale_states};

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
    /// Tunnel to the service, if there is one or one is being opened.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tunnel: Option<TunnelLink>,
    /// True if the service requires a login.
    pub protected: bool,
    /// State of the service.
    #[serde(flatten)]
    pub state: State,
    /// Programs that are balanced behind the port; empty for a service of one program.
    pub instances: Vec<InstanceLink>,
    #[serde(skip)]
    pub addresses: Vec<ServiceAddress>,
    #[serde(skip)]
    pub log: Option<String>,
    /// Program of supervisord that writes the log, and nothing else does.
    #[serde(skip)]
    pub program: Option<LogOwner>,
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
///
/// `programs` has the program of each log.
pub async fn service_links(
    services: Vec<Service>,
    origins: &Origins<'_>,
    programs: &BTreeMap<String, LogOwner>,
) -> Vec<Link> {
    let services: Vec<_> = services.into_iter().map(without_stale_states).collect();
    let checks: Vec<_> = services.iter().map(start_checks).collect();
    let mut links = Vec::with_capacity(services.len());
    for (service, checks) in services.into_iter().zip(checks) {
        let mut accepts = Vec::with_capacity(checks.len());
        for check in checks {
            accepts.push(check.await.unwrap_or(false));
        }
        links.push(link(service, origins, programs, &accepts, unix_time::now()));
    }
    links
}

/// Starts to check which instances accept connections, or the service without instances.
fn start_checks(service: &Service) -> Vec<JoinHandle<bool>> {
    let check = |port: u16, status: Option<&Status>| {
        let may_listen = status.is_none_or(|status| matches!(status.phase, Phase::Starting | Phase::Running));
        tokio::spawn(async move { may_listen && accepts_connections(port).await })
    };
    if service.instances.is_empty() {
        return vec![check(service.listen_port, service.status.as_ref())];
    }
    service.instances.iter().map(|instance| check(instance.listen_port, Some(&instance.status))).collect()
}

fn link(
    service: Service,
    origins: &Origins<'_>,
    programs: &BTreeMap<String, LogOwner>,
    accepts: &[bool],
    now: u64,
) -> Link {
    let state = State::new(service.status.as_ref(), accepts.contains(&true), now);
    let of_instance = |(Instance { listen_port: port, label, status }, accepts): (_, &bool)| InstanceLink {
        label,
        port,
        state: State::new(Some(&status), *accepts, now),
    };
    let log = service.log_file().and_then(|file| Some(file.strip_suffix(".log")?.to_owned()));
    let program = log.as_ref().and_then(|log| programs.get(log).cloned());
    let instances = service.instances.into_iter().zip(accepts).map(of_instance).collect();
    let Service { service_name: name, proxy_port: port, proxy_secure: protected, service_url: path, .. } =
        service;
    let url = origins.of(port).map(|origin| origin + &path);
    let addresses = addresses(origins, port, &path);
    Link {
        name,
        port,
        url,
        tunnel: origins.tunnel(port, &path),
        protected,
        state,
        instances,
        addresses,
        log,
        program,
    }
}

async fn accepts_connections(port: u16) -> bool {
    matches!(timeout(CONNECT_TIMEOUT, TcpStream::connect((Ipv4Addr::LOCALHOST, port))).await, Ok(Ok(_)))
}
