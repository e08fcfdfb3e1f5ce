//! Start Caddy, and keep its configuration in step with the registered services.
//!
//! The configuration is `base_config` (yours to edit, then `supervisorctl restart caddy`) followed by one block for each
//! registered service, made from a template. Only numbers and words of ours are put into a template, never a text from a
//! registry file or from the environment (hazard H03). When a service comes or goes, Caddy reloads; a configuration that
//! it refuses leaves the running one in force.

mod caddy;
mod cli;
mod configuration;
mod watch;

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};

use anyhow::{Context, Result};
use clap::Parser;
use kit::atomic::{self, Placement};
use kit::{Exit, Outcome};
use ports::{Registry, Service};

use caddy::Caddy;
use cli::Cli;
pub use cli::command;
use configuration::Templates;
use watch::{Change, Watch};

/// Runs the command line; returns when Caddy has ended.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    kit::lean::keep_only(|name| matches!(name, "PATH" | "LANG"))?;
    let registry = Registry::at(&cli.registry);
    if cli.print {
        let text = Templates::read(&cli.share)?.render(&registry.load()?.0)?;
        io::stdout().write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    // The watch comes first: a service that registers while Caddy starts must not be missed.
    let watch = Watch::start(registry.directory())?;
    let mut served = configure(&cli, &registry, &BTreeSet::new())?;
    let mut caddy = Caddy::start(&cli.output, &watch)?;
    loop {
        match watch.next()? {
            Change::Registry => match reconfigure(&cli, &registry, &served, &caddy) {
                Ok(now) => served = now,
                Err(error) => {
                    log::error!("the services have changed, but Caddy keeps its configuration: {error:#}");
                }
            },
            Change::Stop => caddy.stop()?,
            Change::Ended => return Ok(caddy.wait()?.into()),
        }
    }
}

/// Writes the configuration for the services that can be served; returns their ports.
fn configure(cli: &Cli, registry: &Registry, served: &BTreeSet<u16>) -> Result<BTreeSet<u16>> {
    let (services, rejected) = registry.load()?;
    for file in rejected {
        log::warn!("service file {} is ignored: {}", file.file, file.reason);
    }
    let services: Vec<Service> = services.into_iter().filter(|service| is_free(service, served)).collect();
    let text = Templates::read(&cli.share)?.render(&services)?;
    atomic::write_if_changed(&cli.output, text.as_bytes(), Placement::volatile(0o644))?;
    Ok(services.iter().map(|service| service.proxy_port).collect())
}

/// Whether Caddy has the port or can get it; one port that it cannot open would make it refuse all of them.
fn is_free(service: &Service, served: &BTreeSet<u16>) -> bool {
    if served.contains(&service.proxy_port) {
        return true;
    }
    // As Caddy does: both families through IPv6, and IPv4 alone where the kernel has no other.
    let bound = match TcpListener::bind((Ipv6Addr::UNSPECIFIED, service.proxy_port)) {
        Err(error) if error.raw_os_error() == Some(nix::libc::EAFNOSUPPORT) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, service.proxy_port))
        }
        bound => bound,
    };
    match bound {
        Ok(_) => true,
        Err(error) => {
            log::error!("{} is not served: port {}: {error}", service.service_name, service.proxy_port);
            false
        }
    }
}

fn reconfigure(
    cli: &Cli,
    registry: &Registry,
    served: &BTreeSet<u16>,
    caddy: &Caddy,
) -> Result<BTreeSet<u16>> {
    let before =
        std::fs::read(&cli.output).with_context(|| format!("cannot read {}", cli.output.display()))?;
    let now = configure(cli, registry, served)?;
    let after =
        std::fs::read(&cli.output).with_context(|| format!("cannot read {}", cli.output.display()))?;
    if after != before {
        caddy.reload().inspect_err(|_| {
            // The file shall say what is in force; if even that cannot be written, the error above says enough.
            let _ = atomic::write(&cli.output, &before, Placement::volatile(0o644));
        })?;
        log::info!("serving ports {now:?}");
    }
    Ok(now)
}
