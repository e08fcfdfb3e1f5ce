//! Ports of this machine that are published for the container.

use std::net::{IpAddr, TcpListener};

use anyhow::{Context, Result, bail};
use kit::HintExt;
use serde_json::{Map, Value};

/// Default port of the portal.
const PORTAL: u16 = 1111;
/// Port 22 is usually this machine's own.
const SSH: u16 = 2222;
/// Ports that the base image exposes.
const BASE: [u16; 3] = [22, 1111, 53682];

/// The ports of this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Published {
    /// Port of the portal.
    pub portal: u16,
    /// Port of the SSH server.
    pub ssh: u16,
    /// Ports of the web services that an extended image brings.
    pub services: Vec<ServicePort>,
}

/// Port of a web service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ServicePort {
    /// Its number in the container.
    pub inside: u16,
    /// Its number on this machine.
    pub outside: u16,
}

/// Returns the ports of an image's own web services from its `ExposedPorts`, as docker prints them: `{"8888/tcp":{}}`.
pub fn of_services(exposed: &str) -> Result<Vec<u16>> {
    let exposed: Option<Map<String, Value>> =
        serde_json::from_str(exposed).context("cannot read the image's exposed ports")?;
    let exposed = exposed.unwrap_or_default();
    let mut ports: Vec<u16> =
        exposed.keys().filter_map(|name| name.strip_suffix("/tcp")?.parse().ok()).collect();
    ports.retain(|port| !BASE.contains(port));
    ports.sort_unstable();
    Ok(ports)
}

impl Published {
    /// Chooses the given ports, or fails; without them, the default or the next free port. A service's default is its number
    /// in the container.
    pub fn choose(
        portal: Option<u16>,
        ssh: Option<u16>,
        services: &[u16],
        free: impl Fn(u16) -> bool,
    ) -> Result<Self> {
        if portal.is_some() && portal == ssh {
            bail!("portal and SSH cannot both have port {}", portal.unwrap_or_default());
        }
        let portal_port = pick(portal, PORTAL, "--portal-port", |port| Some(port) != ssh && free(port))?;
        let ssh_port = pick(ssh, SSH, "--ssh-port", |port| port != portal_port && free(port))?;
        let mut taken = vec![portal_port, ssh_port];
        let mut chosen = Vec::new();
        for &inside in services {
            let outside = pick(None, inside, "", |port| !taken.contains(&port) && free(port))?;
            taken.push(outside);
            chosen.push(ServicePort { inside, outside });
        }
        Ok(Self { portal: portal_port, ssh: ssh_port, services: chosen })
    }

    /// Warnings about default ports that were taken.
    pub fn moved_ports(&self, portal: Option<u16>, ssh: Option<u16>) -> Vec<String> {
        let rows = [("the portal", portal, PORTAL, self.portal), ("SSH", ssh, SSH, self.ssh)];
        let moved = rows.into_iter().filter(|(_, wanted, default, got)| wanted.is_none() && default != got);
        let moved = moved.map(|(what, _, default, got)| (what, default, got));
        let services = self.services.iter().filter(|port| port.inside != port.outside);
        let services = services.map(|port| ("the service", port.inside, port.outside));
        moved
            .chain(services)
            .map(|(what, default, got)| format!("port {default} is taken, so {what} gets {got}"))
            .collect()
    }
}

fn pick(wanted: Option<u16>, default: u16, flag: &str, free: impl Fn(u16) -> bool) -> Result<u16> {
    match wanted {
        Some(port) if free(port) => Ok(port),
        Some(port) => {
            Err(anyhow::anyhow!("port {port} is taken")).hint(|| format!("give another one with {flag}"))
        }
        None => (default..=u16::MAX).find(|port| free(*port)).context("no port is free"),
    }
}

/// True if this address and port can be listened on now.
pub fn is_free(address: IpAddr, port: u16) -> bool {
    TcpListener::bind((address, port)).is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;
    use std::time::Duration;

    fn choose(portal: Option<u16>, ssh: Option<u16>, busy: &[u16]) -> Result<(u16, u16), String> {
        let chosen = Published::choose(portal, ssh, &[], |port| !busy.contains(&port));
        chosen.map(|chosen| (chosen.portal, chosen.ssh)).map_err(|error| error.to_string())
    }

    #[test]
    fn a_busy_default_moves_on_and_a_busy_wish_is_an_error() {
        assert_eq!(choose(None, None, &[]), Ok((1111, 2222)));
        assert_eq!(choose(None, None, &[1111, 1112, 2222]), Ok((1113, 2223)));
        assert_eq!(choose(Some(8080), None, &[1111]), Ok((8080, 2222)));
        assert_eq!(choose(Some(8080), None, &[8080]), Err("port 8080 is taken".into()));
        assert_eq!(choose(None, Some(22), &[22]), Err("port 22 is taken".into()));
    }

    #[test]
    fn the_two_ports_never_are_one() {
        assert_eq!(choose(None, Some(1111), &[]), Ok((1112, 1111)));
        assert_eq!(choose(Some(2222), None, &[]), Ok((2222, 2223)));
        assert_eq!(choose(Some(5), Some(5), &[]), Err("portal and SSH cannot both have port 5".into()));
    }

    #[test]
    fn only_a_default_that_moved_is_worth_a_word() {
        let services = [(8188, 8188), (8888, 8889)].map(|(inside, outside)| ServicePort { inside, outside });
        let ports = Published { portal: 1112, ssh: 2223, services: services.to_vec() };
        assert_eq!(
            ports.moved_ports(None, Some(2223)),
            ["port 1111 is taken, so the portal gets 1112", "port 8888 is taken, so the service gets 8889"]
        );
    }

    #[test]
    fn each_service_of_the_image_gets_a_port_of_its_own() {
        let exposed =
            r#"{"1111/tcp":{},"22/tcp":{},"53682/tcp":{},"8888/tcp":{},"2222/tcp":{},"8889/udp":{}}"#;
        assert_eq!(
            (of_services(exposed).unwrap(), of_services("null\n").unwrap()),
            (vec![2222, 8888], vec![])
        );
        let chosen = Published::choose(None, None, &[2222, 8888], |port| port != 8888).unwrap();
        let services = [(2222, 2223), (8888, 8889)].map(|(inside, outside)| ServicePort { inside, outside });
        assert_eq!(chosen, Published { portal: 1111, ssh: 2222, services: services.to_vec() });
    }

    #[test]
    fn a_port_with_a_listener_is_not_free() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
        assert!(!is_free(loopback, port));
        drop(listener);
        // A child that another test is starting may hold the listener until its exec.
        kit::wait::until(Duration::from_secs(10), "port", || is_free(loopback, port).then_some(())).unwrap();
    }
}
