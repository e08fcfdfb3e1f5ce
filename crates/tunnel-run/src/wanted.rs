//! Ports that should have a quick tunnel.

use std::collections::BTreeMap;
use std::time::Instant;

use ports::Service;
use tunnels::MAX_QUICK;

use crate::times::{LINGER, REGISTERED, Times};

/// Ports with a tunnel, or about to have one.
#[derive(Debug)]
pub struct Wanted {
    times: Times,
    ports: BTreeMap<u16, Entry>,
}

#[derive(Debug)]
struct Entry {
    /// Time at which the service was first registered.
    first: Instant,
    /// Time at which it was last registered.
    last: Instant,
    is_accepted: bool,
}

/// Ports by what happens with them; the portal is not among them.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Ports {
    /// Ports with a tunnel.
    pub open: Vec<u16>,
    /// Ports of services without a login.
    pub no_login: Vec<u16>,
    /// Ports beyond the maximum number.
    pub beyond: Vec<u16>,
}

impl Wanted {
    /// Returns an empty list.
    pub fn new(times: Times) -> Self {
        Self { times, ports: BTreeMap::new() }
    }

    /// Returns the ports that should have a tunnel now: of services that ask for a login and have been registered for a
    /// moment, and of those that were removed a moment ago. A tunnel keeps its place when a service with a lower port
    /// appears.
    pub fn update(&mut self, services: &[Service], now: Instant) -> Ports {
        let mut ports = Ports::default();
        for service in services {
            if service.proxy_secure {
                let new = Entry { first: now, last: now, is_accepted: false };
                self.ports.entry(service.proxy_port).or_insert(new).last = now;
            } else {
                self.ports.remove(&service.proxy_port);
                ports.no_login.push(service.proxy_port);
            }
        }
        let (linger, registered) = (self.times.of(LINGER), self.times.of(REGISTERED));
        self.ports.retain(|_, entry| entry.last == now || entry.is_accepted && now - entry.last < linger);
        // One place is the portal's.
        let mut places =
            (MAX_QUICK - 1).saturating_sub(self.ports.values().filter(|entry| entry.is_accepted).count());
        for (&port, entry) in &mut self.ports {
            if !entry.is_accepted && now - entry.first >= registered {
                if places == 0 {
                    ports.beyond.push(port);
                    continue;
                }
                places -= 1;
                entry.is_accepted = true;
            }
            if entry.is_accepted {
                ports.open.push(port);
            }
        }
        ports
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn services(ports: impl IntoIterator<Item = u16>) -> Vec<Service> {
        let service = |proxy_port| Service {
            proxy_port,
            listen_port: 1,
            service_name: "x".into(),
            ..Service::default()
        };
        ports.into_iter().map(service).collect()
    }

    #[test]
    fn a_burst_of_changes_is_one_tunnel_which_survives_a_restart_of_its_service() {
        let mut wanted = Wanted::new(Times(1));
        let start = Instant::now();
        let mut open = |registered: bool, millis| {
            let services = services(registered.then_some(8188));
            wanted.update(&services, start + Duration::from_millis(millis)).open
        };
        // Registered and removed a hundred times in a second.
        assert!((0..100).all(|number| open(number % 2 == 0, number * 10).is_empty()));
        assert!(open(true, 1_000).is_empty() && open(true, 2_999).is_empty());
        assert_eq!(open(true, 3_000), [8188]);
        assert_eq!([open(false, 4_000), open(false, 32_999)], [[8188], [8188]], "removed for less than 30 s");
        assert_eq!(open(true, 33_000), [8188], "it is back");
        assert_eq!(open(false, 62_999), [8188]);
        assert!(open(false, 63_000).is_empty());
        assert!(open(true, 64_000).is_empty(), "it is new again");
    }

    #[test]
    fn a_service_that_gives_up_its_login_loses_its_tunnel_at_once() {
        let mut wanted = Wanted::new(Times(1));
        let start = Instant::now();
        let mut services = services([3000, 8188]);
        wanted.update(&services, start);
        let later = start + Duration::from_secs(2);
        assert_eq!(wanted.update(&services, later).open, [3000, 8188]);
        services[1].proxy_secure = false;
        let expected = Ports { open: vec![3000], no_login: vec![8188], beyond: Vec::new() };
        assert_eq!(wanted.update(&services, later), expected);
    }

    #[test]
    fn tunnels_beyond_the_limit_wait_for_a_place() {
        let mut wanted = Wanted::new(Times(1));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        let many = services(3000..3017);
        wanted.update(&many, start);
        let ports = wanted.update(&many, at(2));
        assert_eq!((ports.open, ports.beyond), ((3000..3015).collect(), vec![3015, 3016]));
        let lower = services((2000..2001).chain(3000..3015));
        wanted.update(&lower, at(3));
        assert_eq!(wanted.update(&lower, at(5)).beyond, [2000], "a tunnel is not replaced by a lower port");
        let fewer = services((2000..2001).chain(3001..3015));
        assert_eq!(wanted.update(&fewer, at(35)).open[0], 2000);
    }
}
