//! The tunnel of `CF_TUNNEL_TOKEN`.

use std::path::PathBuf;
use std::time::Instant;

use ports::{Registry, Service};
use tunnels::{Cause, Kind, State, Status, Tunnel};

use crate::Program;
use crate::cli::Cli;
use crate::cloudflared::{Target, find_program};
use crate::ingress::{self, Hostname};
use crate::managed_tunnel::{ManagedTunnel, Start, StartGate};
use crate::quick::name;
use crate::times::{SEARCH, Times};

/// The named tunnel, and the hostnames of its configuration.
#[derive(Debug)]
pub struct NamedTunnel<'a> {
    cli: &'a Cli,
    times: Times,
    registry: Registry,
    services: Vec<Service>,
    tunnel: ManagedTunnel,
    hostnames: Vec<Hostname>,
    gate: StartGate,
    program: Option<PathBuf>,
    /// Time of the next look for a missing program.
    next_search: Instant,
}

impl<'a> NamedTunnel<'a> {
    /// Returns a tunnel without a process.
    pub fn new(cli: &'a Cli, times: Times, now: Instant) -> Self {
        Self {
            cli,
            times,
            registry: Registry::new(&cli.registry),
            services: Vec::new(),
            tunnel: ManagedTunnel::new(Kind::Named, "the tunnel of CF_TUNNEL_TOKEN".to_owned(), times, now),
            hostnames: Vec::new(),
            gate: StartGate::new(times, now),
            program: None,
            next_search: now,
        }
    }
}

impl Program for NamedTunnel<'_> {
    fn tick(&mut self, now: Instant) {
        if self.program.is_none() && self.tunnel.is_idle() && now < self.next_search {
            return;
        }
        self.program = find_program(self.cli);
        self.next_search = now + self.times.of(SEARCH);
        let start =
            Start { program: self.program.as_deref(), target: Target::Named, metrics_port: None, log: None };
        self.tunnel.tick(self.cli, Some(&start), &mut self.gate, now);
        if self.tunnel.status(0, &self.gate, now).state != State::Open {
            return;
        }
        if let Ok((services, _)) = self.registry.load() {
            self.services = services;
        }
        let Some(configuration) = self.tunnel.configuration() else { return };
        let hostnames = ingress::hostnames(&configuration, &self.services);
        for hostname in hostnames.iter().filter(|hostname| !self.hostnames.contains(hostname)) {
            match raw_port_detail(hostname) {
                None => log::info!("{}: https://{}", name(hostname.port, &self.services), hostname.name),
                detail => log::warn!("{}", Cause::RawPort.message(Kind::Named, detail.as_deref())),
            }
        }
        self.hostnames = hostnames;
    }

    fn status(&self, now: Instant) -> Status {
        if self.program.is_none() && self.tunnel.is_idle() {
            return Status { cause: Some(Cause::Missing), ..Status::default() };
        }
        let Tunnel { state, cause, detail, .. } = self.tunnel.status(0, &self.gate, now);
        let entry = |hostname: &Hostname| {
            let raw = raw_port_detail(hostname);
            Tunnel {
                port: hostname.port,
                state: if raw.is_some() { State::Off } else { state },
                url: raw.is_none().then(|| format!("https://{}", hostname.name)),
                cause: raw.as_ref().map(|_| Cause::RawPort),
                detail: raw,
                retry_at: None,
            }
        };
        let is_known = matches!(state, State::Open | State::Lost);
        let tunnels = self.hostnames.iter().filter(|_| is_known).map(entry).collect();
        Status { is_opening: !is_known, cause, detail, tunnels }
    }

    fn tunnels(&mut self) -> Vec<&mut ManagedTunnel> {
        vec![&mut self.tunnel]
    }
}

fn raw_port_detail(hostname: &Hostname) -> Option<String> {
    hostname.raw_port.map(|port| format!("https://{} leads to port {port}", hostname.name))
}
