//! The service's entry in the registry.

use std::process;

use anyhow::{Error, Result, anyhow};
use kit::exit::with_hint;
use kit::process::Process;
use kit::{Env, UsageError, unix_time};
use nix::unistd::getppid;
use ports::{Claim, Instance, Phase, Registry, Service, Status};

use crate::cli::Cli;
use crate::{lifecycle, listen_port};

/// The entry of this process; it stays when the process ends, unless it is removed.
pub struct Registration {
    registry: Registry,
    service: Service,
    /// Ports on loopback that the last start had.
    former: Vec<u16>,
}

impl Registration {
    /// Registers the service unless another running service has its public port, or another registration the given port
    /// on loopback.
    pub fn claim(cli: &Cli, status: Status) -> Result<Self> {
        let service = Service {
            log: own_log(&Env::from_process()),
            pid: Some(process::id()),
            status: Some(status),
            ..service(cli)
        };
        let mut registration = Self { registry: Registry::new(&cli.registry), service, former: Vec::new() };
        registration.choose_ports(&[], cli.listen_port)?;
        Ok(registration)
    }

    /// Chooses a port on loopback for each instance, or for a service of one program without a label, and registers them;
    /// returns the ports.
    pub fn choose_ports(&mut self, labels: &[String], given: Option<u16>) -> Result<Vec<u16>> {
        let starting = lifecycle::status(Phase::Starting, unix_time::now(), None);
        let instance = |(label, listen_port): (&String, &u16)| Instance {
            listen_port: *listen_port,
            label: label.clone(),
            status: starting.clone(),
        };
        loop {
            let (own, taken) = self.ports()?;
            if self.former.is_empty() {
                self.former = own;
            }
            let listen_ports = match given {
                Some(port) => vec![port],
                None => {
                    listen_port::choose(self.service.proxy_port, labels.len().max(1), &self.former, &taken)?
                }
            };
            self.service.instances = labels.iter().zip(&listen_ports).map(instance).collect();
            self.service.listen_port = listen_ports.first().copied().unwrap_or_default();
            self.service.check().map_err(|error| UsageError(format!("{error:#}")))?;
            match self.registry.claim(&self.service)? {
                Claim::Ours => return Ok(listen_ports),
                // Another service has chosen it in the same instant.
                Claim::Taken(port, _) if given.is_none() && port != self.service.proxy_port => {}
                Claim::Taken(port, holder) => return Err(self.taken(port, &holder)),
            }
        }
    }

    /// Returns the ports that the registered service has on loopback, and all ports of the other services.
    fn ports(&self) -> Result<(Vec<u16>, Vec<u16>)> {
        let (services, _) = self.registry.load()?;
        let (own, others): (Vec<_>, Vec<_>) =
            services.into_iter().partition(|service| service.proxy_port == self.service.proxy_port);
        let of =
            |services: Vec<Service>| services.iter().flat_map(Service::listen_ports).collect::<Vec<u16>>();
        let public = others.iter().map(|service| service.proxy_port).collect::<Vec<_>>();
        Ok((of(own), [of(others), public].concat()))
    }

    fn taken(&self, port: u16, holder: &Service) -> Error {
        let (place, option) =
            if port == self.service.proxy_port { ("", "--port") } else { (" on 127.0.0.1", "--listen-port") };
        let process = holder.pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
        let error =
            anyhow!("port {port}{place} is already registered for {:?}{process}", holder.service_name);
        with_hint(error, format!("give one of them another {option}"))
    }

    /// Changes the state in the registry; a failure is logged, because the program matters more.
    pub fn publish(&mut self, status: Status, instances: Vec<Instance>) {
        self.service.status = Some(status);
        self.service.instances = instances;
        if let Err(error) = self.registry.update(&self.service) {
            log::warn!("cannot update the registration: {error:#}");
        }
    }

    /// Returns the public port of the service.
    pub fn proxy_port(&self) -> u16 {
        self.service.proxy_port
    }

    /// Removes the entry if it is still ours.
    pub fn remove(&self) {
        if let Err(error) = self.registry.unregister(&self.service) {
            log::warn!("{error:#}");
        }
    }
}

/// Returns the service that the command line describes, without a port on loopback.
pub fn service(cli: &Cli) -> Service {
    Service {
        service_name: cli.name.clone(),
        proxy_port: cli.port,
        proxy_secure: !cli.open,
        service_url: cli.url.clone(),
        ..Service::default()
    }
}

/// Returns the name of this process's log if supervisord has started it. Terminals inherit supervisord's variables too.
fn own_log(env: &Env) -> Option<String> {
    if !Process::new(getppid()).runs("supervisord") {
        return None;
    }
    let log = format!("{}.log", env.text("SUPERVISOR_PROCESS_NAME")?);
    let example =
        Service { service_name: "x".to_owned(), listen_port: 1, proxy_port: 2, ..Service::default() };
    Service { log: Some(log.clone()), ..example }.check().is_ok().then_some(log)
}
