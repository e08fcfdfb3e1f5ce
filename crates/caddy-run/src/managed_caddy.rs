//! Caddy with its templates: start, updates and fallback.

use std::collections::BTreeSet;
use std::fs;
use std::net::{Ipv4Addr, Ipv6Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::ExitStatus;

use anyhow::{Context, Result, bail};
use kit::atomic::{self, WriteOptions};
use ports::{Registry, Service};

use crate::caddy::{self, Caddy};
use crate::caddy_error;
use crate::cli::Cli;
use crate::configuration::{Configuration, Templates};
use crate::events::{Events, ProxyEvent};
use crate::last_good::LastGood;
use crate::settings::Settings;

/// Exit code of Caddy if it could not apply its first configuration, for example because a port is in use.
const FAILED_START: i32 = 1;
/// Maximum number of remembered configurations that Caddy has rejected; others are tried again.
const MAX_REJECTED: usize = 8;
const NEXT_STEP: &str =
    "The last good configuration is still in use. Fix the template, then run: supervisorctl restart caddy";

/// Caddy, the templates that it uses, and those that it should use.
pub struct ManagedCaddy<'a> {
    cli: &'a Cli,
    settings: &'a Settings,
    events: &'a Events,
    last_good: LastGood,
    /// Templates of the files, or the reason why they cannot be read.
    wanted: Result<Templates, String>,
    /// Further templates to try if Caddy does not start with the active ones.
    fallbacks: Vec<Templates>,
    /// Templates that Caddy uses now.
    active: Templates,
    /// Configuration that Caddy uses now.
    running: String,
    /// Public ports that Caddy serves now.
    served: BTreeSet<u16>,
    /// Configurations that Caddy has rejected, with the reasons.
    rejected: Vec<(String, String)>,
    caddy: Caddy,
}

impl<'a> ManagedCaddy<'a> {
    /// Starts Caddy with the templates of the files if it has accepted them before, otherwise with the last good ones.
    pub fn start(cli: &'a Cli, settings: &'a Settings, events: &'a Events) -> Result<Self> {
        let last_good = LastGood::new(&cli.output, &cli.shipped);
        let wanted = read_templates(cli);
        let usable = last_good
            .read()
            .into_iter()
            .filter(|templates| templates.missing_directive(settings).is_none())
            .collect();
        let complete = wanted.as_ref().ok().filter(|wanted| wanted.missing_directive(settings).is_none());
        let (active, fallbacks) = choose(complete, usable);
        let active = match (active, &wanted) {
            (Some(templates), _) => templates,
            (None, Ok(wanted)) => bail!("{}", wanted.missing_directive(settings).unwrap_or_default()),
            (None, Err(why)) => bail!("{why}"),
        };
        let services = services_with_free_port(&Registry::new(&cli.registry), &BTreeSet::new())?;
        let configuration = active.render(settings, &services);
        let caddy = start_caddy(cli, &configuration, events)?;
        let proxy = Self {
            cli,
            settings,
            events,
            last_good,
            wanted,
            fallbacks,
            active,
            running: configuration.text,
            served: public_ports(&services),
            rejected: Vec::new(),
            caddy,
        };
        proxy.request_update();
        Ok(proxy)
    }

    /// Updates Caddy to the services and templates of now; uses the first templates that Caddy accepts.
    pub fn update(&mut self) -> Result<()> {
        let services = services_with_free_port(&Registry::new(&self.cli.registry), &self.served)?;
        let mut problem = self.wanted.as_ref().err().cloned();
        for templates in self.candidates() {
            if let Some(why) = templates.missing_directive(self.settings) {
                problem.get_or_insert(format!("{}/{why}", self.cli.share.display()));
                continue;
            }
            let configuration = templates.render(self.settings, &services);
            if configuration.text != self.running {
                let known = self
                    .rejected
                    .iter()
                    .find(|(text, _)| *text == configuration.text)
                    .map(|(_, why)| why.clone());
                let rejection = match known {
                    Some(why) if templates != self.active => Some(why),
                    _ => self.apply(&configuration)?,
                };
                if let Some(why) = rejection {
                    problem.get_or_insert(why);
                    continue;
                }
                log::info!("serving ports {:?}", public_ports(&services));
            }
            self.served = public_ports(&services);
            if self.wanted.as_ref() == Ok(&templates) {
                // Templates that are not saved are tried again after the next start.
                self.last_good.save(&templates).unwrap_or_else(|error| log::warn!("{error:#}"));
            }
            self.active = templates;
            return self.write_problem_file(problem.as_deref());
        }
        self.write_problem_file(problem.as_deref())
    }

    /// Rereads the templates, for the next update.
    pub fn reread_templates(&mut self) {
        self.wanted = read_templates(self.cli);
        self.rejected.clear();
    }

    /// Starts Caddy again with the next fallback, if it failed to start; returns false if there is none.
    pub fn fall_back(&mut self, status: ExitStatus) -> Result<bool> {
        if status.code() != Some(FAILED_START) || self.fallbacks.is_empty() {
            return Ok(false);
        }
        log::error!("Caddy failed to start; trying the templates of the image");
        self.active = self.fallbacks.remove(0);
        let services = services_with_free_port(&Registry::new(&self.cli.registry), &BTreeSet::new())?;
        let configuration = self.active.render(self.settings, &services);
        self.caddy = start_caddy(self.cli, &configuration, self.events)?;
        (self.running, self.served) = (configuration.text, public_ports(&services));
        self.request_update();
        Ok(true)
    }

    /// Stops Caddy; its exit is reported as a [`ProxyEvent`].
    pub fn stop(&mut self) -> Result<()> {
        self.caddy.stop()
    }

    /// Returns the exit status of Caddy.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.caddy.wait()
    }

    /// Returns templates to try, in order: those of the files, the active ones, and both without services' own templates.
    ///
    /// An invalid template of one service must not affect the others. It is omitted last, because it may contain an access
    /// restriction.
    fn candidates(&self) -> Vec<Templates> {
        let known: Vec<&Templates> = self.wanted.as_ref().ok().into_iter().chain([&self.active]).collect();
        let plain = known.iter().filter_map(|templates| templates.without_overrides());
        let mut candidates: Vec<Templates> = Vec::new();
        for candidate in known.iter().map(|templates| (*templates).clone()).chain(plain) {
            if !candidates.contains(&candidate) {
                candidates.push(candidate);
            }
        }
        candidates
    }

    /// Applies a configuration; returns the reason if Caddy rejects it.
    fn apply(&mut self, configuration: &Configuration) -> Result<Option<String>> {
        caddy::wait_until_up()?;
        let next = self.cli.output.with_file_name("Caddyfile.next");
        let next = write_configuration(&next, &configuration.text, Path::new(caddy::RUNTIME_DIRECTORY))?;
        match caddy::reload(&next) {
            Ok(()) => {
                self.running.clone_from(&configuration.text);
                // The generated file is the active configuration, unless its disk is full.
                if next.parent() == self.cli.output.parent() {
                    fs::rename(&next, &self.cli.output)
                        .with_context(|| format!("cannot write {}", self.cli.output.display()))?;
                }
                Ok(None)
            }
            Err(error) => {
                let message = caddy_error::extract_message(&format!("{error:#}"));
                let why =
                    caddy_error::with_template_location(&message, &next, configuration, &self.cli.share);
                log::error!("Caddy rejected the configuration: {why}");
                if self.rejected.len() >= MAX_REJECTED {
                    self.rejected.remove(0);
                }
                self.rejected.push((configuration.text.clone(), why.clone()));
                Ok(Some(why))
            }
        }
    }

    /// Writes the problem to a file, for the portal; removes the file if there is none.
    fn write_problem_file(&self, problem: Option<&str>) -> Result<()> {
        let path = self.problem_file();
        let of_templates = problem.map(|why| format!("{why}\n{NEXT_STEP}\n"));
        let of_certificate = self.settings.certificate_problem.as_ref().map(|why| format!("{why}\n"));
        match of_templates.into_iter().chain(of_certificate).reduce(|one, other| one + &other) {
            Some(text) => {
                if atomic::write_if_changed(&path, text.as_bytes(), WriteOptions::volatile(0o644))? {
                    log::error!("{}", text.trim_end());
                }
                Ok(())
            }
            None => kit::remove_file(&path),
        }
    }

    fn problem_file(&self) -> PathBuf {
        self.cli.output.with_file_name("problem.txt")
    }

    /// Requests an update once Caddy runs, if other templates are wanted or the problem file must be written or removed.
    fn request_update(&self) {
        let is_problem = self.settings.certificate_problem.is_some();
        if self.wanted.as_ref() != Ok(&self.active) || self.problem_file().exists() || is_problem {
            // Fails only after the main loop has ended.
            let _ = self.events.sender().send(ProxyEvent::Registry);
        }
    }
}

/// Returns the templates to start with, and the fallbacks.
///
/// Untested templates are applied to a running Caddy, which can reject them. Caddy starts with them only if there are no
/// fallbacks.
fn choose(wanted: Option<&Templates>, mut fallbacks: Vec<Templates>) -> (Option<Templates>, Vec<Templates>) {
    let known = wanted.and_then(|wanted| fallbacks.iter().position(|templates| templates == wanted));
    match known {
        Some(index) => (Some(fallbacks.remove(index)), fallbacks),
        None if fallbacks.is_empty() => (wanted.cloned(), fallbacks),
        None => (Some(fallbacks.remove(0)), fallbacks),
    }
}

/// Reads the templates, or returns the reason why they cannot be used.
fn read_templates(cli: &Cli) -> Result<Templates, String> {
    Templates::read(&cli.share).map_err(|error| format!("{error:#}"))
}

/// Writes a configuration and starts Caddy with it.
fn start_caddy(cli: &Cli, configuration: &Configuration, events: &Events) -> Result<Caddy> {
    Caddy::start(
        &write_configuration(&cli.output, &configuration.text, Path::new(caddy::RUNTIME_DIRECTORY))?,
        events,
    )
}

/// Writes a configuration and returns its path. If the disk is full, it is written to the `fallback` directory, because the
/// container is unreachable without Caddy.
fn write_configuration(path: &Path, text: &str, fallback: &Path) -> Result<PathBuf> {
    let write = |path: &Path| atomic::write_if_changed(path, text.as_bytes(), WriteOptions::volatile(0o644));
    let Err(error) = write(path) else { return Ok(path.to_owned()) };
    let fallback = fallback.join(path.file_name().unwrap_or_default());
    log::warn!("{error:#}; writing the configuration to {} instead", fallback.display());
    write(&fallback)?;
    Ok(fallback)
}

fn public_ports(services: &[Service]) -> BTreeSet<u16> {
    services.iter().map(|service| service.proxy_port).collect()
}

/// Returns the services whose public ports Caddy uses or could open.
fn services_with_free_port(registry: &Registry, served: &BTreeSet<u16>) -> Result<Vec<Service>> {
    let (services, rejected) = registry.load()?;
    for file in rejected {
        log::warn!("service file {} is ignored: {}", file.file, file.reason);
    }
    Ok(services.into_iter().filter(|service| is_free(service, served)).collect())
}

/// True if Caddy uses the port or could open it; a single port that it cannot open makes it reject the configuration.
fn is_free(service: &Service, served: &BTreeSet<u16>) -> bool {
    if served.contains(&service.proxy_port) {
        return true;
    }
    // Like Caddy: IPv6 with IPv4, or only IPv4 if the kernel has no IPv6.
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

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(base: &str) -> Templates {
        serde_json::from_str(&format!(r#"{{"base":"{base}","service":"%PROXY_PORT%","own":{{}}}}"#)).unwrap()
    }

    #[test]
    fn a_configuration_that_cannot_be_written_goes_to_the_fallback_directory() {
        let dir = tempfile::tempdir().unwrap();
        let (full, other) = (dir.path().join("full"), dir.path().join("other"));
        fs::create_dir(&other).unwrap();
        // A missing directory fails like a full disk and needs no mount.
        assert_eq!(
            write_configuration(&full.join("Caddyfile"), "x", &other).unwrap(),
            other.join("Caddyfile")
        );
        assert_eq!(fs::read_to_string(other.join("Caddyfile")).unwrap(), "x");
        fs::create_dir(&full).unwrap();
        assert_eq!(
            write_configuration(&full.join("Caddyfile"), "y", &other).unwrap(),
            full.join("Caddyfile")
        );
    }

    #[test]
    fn caddy_does_not_start_with_untested_templates_if_there_are_others() {
        let [edited, good, shipped] = ["edited", "good", "shipped"].map(templates);
        let fallbacks = || vec![good.clone(), shipped.clone()];
        let chosen = |wanted: Option<&Templates>| choose(wanted, fallbacks());
        assert_eq!(chosen(Some(&edited)), (Some(good.clone()), vec![shipped.clone()]));
        assert_eq!(chosen(None), (Some(good.clone()), vec![shipped.clone()]), "files that cannot be read");
        assert_eq!(chosen(Some(&good)), (Some(good.clone()), vec![shipped.clone()]));
        assert_eq!(chosen(Some(&shipped)), (Some(shipped.clone()), vec![good.clone()]));
        assert_eq!(choose(Some(&edited), vec![]), (Some(edited.clone()), vec![]));
        assert_eq!(choose(None, vec![]), (None, vec![]));
    }
}
