//! Quick tunnels: one to the portal, and one to each service with a login.

use std::collections::{BTreeMap, BTreeSet};
use std::iter;
use std::path::PathBuf;
use std::time::Instant;

use ports::{PORTAL, Registry, Service};
use tunnels::{Cause, Kind, State, Status, Tunnel};

use crate::Program;
use crate::cli::Cli;
use crate::cloudflared::{Target, find_program};
use crate::listeners::{Listener, Listeners};
use crate::managed_tunnel::{ManagedTunnel, Start, StartGate};
use crate::settings::Settings;
use crate::times::{CONNECT, SEARCH, Times};
use crate::wanted::{Ports, Wanted};

/// All quick tunnels.
#[derive(Debug)]
pub struct QuickTunnels<'a> {
    cli: &'a Cli,
    settings: Settings,
    /// User id of Caddy.
    proxy: u32,
    times: Times,
    registry: Registry,
    services: Vec<Service>,
    wanted: Wanted,
    ports: Ports,
    /// Ports on which another program listens: a tunnel would lead past the login.
    held: BTreeSet<u16>,
    /// Ports on which no program listens, with the time since which.
    unserved: BTreeMap<u16, Instant>,
    tunnels: BTreeMap<u16, ManagedTunnel>,
    gate: StartGate,
    program: Option<PathBuf>,
    /// Time of the next look for a missing program.
    next_search: Instant,
}

impl<'a> QuickTunnels<'a> {
    /// Returns an empty list.
    pub fn new(cli: &'a Cli, settings: Settings, proxy: u32, times: Times, now: Instant) -> Self {
        Self {
            cli,
            settings,
            proxy,
            times,
            registry: Registry::new(&cli.registry),
            services: Vec::new(),
            wanted: Wanted::new(times),
            ports: Ports::default(),
            held: BTreeSet::new(),
            unserved: BTreeMap::new(),
            tunnels: BTreeMap::new(),
            gate: StartGate::new(times, now),
            program: None,
            next_search: now,
        }
    }
}

impl Program for QuickTunnels<'_> {
    fn tick(&mut self, now: Instant) {
        if self.program.is_none() && now < self.next_search {
            return;
        }
        self.program = find_program(self.cli);
        self.next_search = now + self.times.of(SEARCH);
        if self.program.is_none() && self.tunnels.is_empty() {
            return;
        }
        // A registry that cannot be read is as it was.
        if let Ok((services, _)) = self.registry.load() {
            self.services = services;
        }
        self.ports = self.wanted.update(&self.services, now);
        for port in iter::once(PORTAL).chain(self.ports.open.iter().copied()) {
            let name = || name(port, &self.services);
            self.tunnels
                .entry(port)
                .or_insert_with(|| ManagedTunnel::new(Kind::Quick, name(), self.times, now));
        }
        let listeners = Listeners::read(&self.cli.sockets);
        for (&port, tunnel) in &mut self.tunnels {
            let listener = listeners.on(port, self.proxy);
            if listener == Listener::Missing {
                self.unserved.entry(port).or_insert(now);
            } else {
                self.unserved.remove(&port);
            }
            if listener != Listener::Another {
                self.held.remove(&port);
            } else if self.held.insert(port) {
                let message = Cause::PortHeld.message(Kind::Quick, None);
                log::warn!("{}: {message}", name(port, &self.services));
            }
            let service = self.services.iter().find(|service| service.proxy_port == port);
            let target = Target::Quick { port, is_https: self.settings.is_https };
            let log = self.cli.logs.join(format!("quicktunnel-{port}.log"));
            let metrics_port = service.and_then(|service| service.metrics_port);
            let program = self.program.as_deref().filter(|_| listener == Listener::Proxy);
            let start = Start { program, target, metrics_port, log: Some(log) };
            let is_wanted =
                (port == PORTAL || self.ports.open.contains(&port)) && listener != Listener::Another;
            tunnel.tick(self.cli, is_wanted.then_some(&start), &mut self.gate, now);
        }
        let is_open = |port: u16| port == PORTAL || self.ports.open.contains(&port);
        self.tunnels.retain(|&port, tunnel| is_open(port) || !tunnel.is_idle());
        self.held.retain(|port| self.tunnels.contains_key(port));
        self.unserved.retain(|port, _| self.tunnels.contains_key(port));
        let nothing_runs = self.tunnels.values().all(ManagedTunnel::is_idle);
        if self.program.is_none() && nothing_runs {
            self.tunnels.clear();
        }
    }

    fn status(&self, now: Instant) -> Status {
        if self.program.is_none() && self.tunnels.is_empty() {
            return Status { cause: Some(Cause::Missing), ..Status::default() };
        }
        let off = |cause| {
            move |&port: &u16| Tunnel {
                port,
                state: State::Off,
                url: None,
                cause: Some(cause),
                detail: None,
                retry_at: None,
            }
        };
        let is_wanted =
            |port: u16| (port == PORTAL || self.ports.open.contains(&port)) && !self.held.contains(&port);
        let mut tunnels: Vec<Tunnel> = self
            .tunnels
            .iter()
            .filter(|(port, _)| is_wanted(**port))
            .map(|(&port, tunnel)| {
                let is_unserved =
                    |since: &Instant| self.times.have_passed(CONNECT, *since, now).then_some(Cause::GateDown);
                let tunnel = tunnel.status(port, &self.gate, now);
                Tunnel { cause: tunnel.cause.or(self.unserved.get(&port).and_then(is_unserved)), ..tunnel }
            })
            .chain(self.ports.no_login.iter().map(off(Cause::NoLogin)))
            .chain(self.ports.beyond.iter().map(off(Cause::Limit)))
            .chain(self.held.iter().map(off(Cause::PortHeld)))
            .collect();
        tunnels.sort_by_key(|tunnel| tunnel.port);
        Status { tunnels, ..Status::default() }
    }

    fn tunnels(&mut self) -> Vec<&mut ManagedTunnel> {
        self.tunnels.values_mut().collect()
    }
}

/// Returns the name of a tunnel in messages.
pub fn name(port: u16, services: &[Service]) -> String {
    if port == PORTAL {
        return format!("tunnel to the portal (port {port})");
    }
    match services.iter().find(|service| service.proxy_port == port) {
        Some(service) => format!("tunnel to {} (port {port})", service.service_name),
        None => format!("tunnel to port {port}"),
    }
}
