//! A running Caddy, and what it shall do next.

use std::collections::BTreeSet;
use std::fs;
use std::io;
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

/// What Caddy exits with if it could not take its first configuration, a port that is held included.
const FAILED_START: i32 = 1;
/// More refused configurations than this are not remembered; they would be tried again, which only takes time.
const REFUSALS: usize = 8;
const NEXT_STEP: &str =
    "The last good configuration stays in force. Correct it, then: supervisorctl restart caddy";

/// Caddy with the templates that are in force, and those that should be.
pub struct ManagedCaddy<'a> {
    cli: &'a Cli,
    settings: &'a Settings,
    events: &'a Events,
    last_good: LastGood,
    /// What the files say, or why they cannot be used.
    wanted: Result<Templates, String>,
    /// Templates that are left if Caddy does not start with those in force.
    left: Vec<Templates>,
    in_force: Templates,
    running: String,
    served: BTreeSet<u16>,
    refused: Vec<(String, String)>,
    caddy: Caddy,
}

impl<'a> ManagedCaddy<'a> {
    /// Starts Caddy: with the present templates if Caddy is known to accept them, else with the last good ones first.
    pub fn start(cli: &'a Cli, settings: &'a Settings, events: &'a Events) -> Result<Self> {
        let last_good = LastGood::new(&cli.output, &cli.shipped);
        let wanted = read(cli);
        let usable = last_good
            .read()
            .into_iter()
            .filter(|templates| templates.missing_directive(settings).is_none())
            .collect();
        let complete = wanted.as_ref().ok().filter(|wanted| wanted.missing_directive(settings).is_none());
        let (in_force, left) = choose(complete, usable);
        let in_force = match (in_force, &wanted) {
            (Some(templates), _) => templates,
            (None, Ok(wanted)) => bail!("{}", wanted.missing_directive(settings).unwrap_or_default()),
            (None, Err(why)) => bail!("{why}"),
        };
        let services = services_with_free_port(&Registry::new(&cli.registry), &BTreeSet::new())?;
        let made = in_force.render(settings, &services);
        let caddy = begin(cli, &made, events)?;
        let proxy = Self {
            cli,
            settings,
            events,
            last_good,
            wanted,
            left,
            in_force,
            running: made.text,
            served: public_ports(&services),
            refused: Vec::new(),
            caddy,
        };
        proxy.request_update();
        Ok(proxy)
    }

    /// Brings Caddy into step with the services and the templates; of the templates, the first that Caddy accepts are used.
    pub fn update(&mut self) -> Result<()> {
        let services = services_with_free_port(&Registry::new(&self.cli.registry), &self.served)?;
        let mut trouble = self.wanted.as_ref().err().cloned();
        for templates in self.candidates() {
            if let Some(why) = templates.missing_directive(self.settings) {
                trouble.get_or_insert(format!("{}/{why}", self.cli.share.display()));
                continue;
            }
            let made = templates.render(self.settings, &services);
            if made.text != self.running {
                let known =
                    self.refused.iter().find(|(text, _)| *text == made.text).map(|(_, why)| why.clone());
                let refusal = match known {
                    Some(why) if templates != self.in_force => Some(why),
                    _ => self.apply(&made)?,
                };
                if let Some(why) = refusal {
                    trouble.get_or_insert(why);
                    continue;
                }
                log::info!("serving ports {:?}", public_ports(&services));
            }
            self.served = public_ports(&services);
            if self.wanted.as_ref() == Ok(&templates) {
                // What is not kept is tried anew after the next start.
                self.last_good.save(&templates).unwrap_or_else(|error| log::warn!("{error:#}"));
            }
            self.in_force = templates;
            return self.write_problem_file(trouble.as_deref());
        }
        self.write_problem_file(trouble.as_deref())
    }

    /// Reads the templates anew, for the next update.
    pub fn reread_templates(&mut self) {
        self.wanted = read(self.cli);
        self.refused.clear();
    }

    /// Starts Caddy once more if it could not start with these templates and there are others; false if it is over.
    pub fn fall_back(&mut self, status: ExitStatus) -> Result<bool> {
        if status.code() != Some(FAILED_START) || self.left.is_empty() {
            return Ok(false);
        }
        log::error!("Caddy did not start; trying the templates of the image");
        self.in_force = self.left.remove(0);
        let services = services_with_free_port(&Registry::new(&self.cli.registry), &BTreeSet::new())?;
        let made = self.in_force.render(self.settings, &services);
        self.caddy = begin(self.cli, &made, self.events)?;
        (self.running, self.served) = (made.text, public_ports(&services));
        self.request_update();
        Ok(true)
    }

    /// Asks Caddy to finish; its end comes as a [`ProxyEvent`].
    pub fn stop(&mut self) -> Result<()> {
        self.caddy.stop()
    }

    /// How Caddy ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.caddy.wait()
    }

    /// Templates to try, the best first: what is wanted, what is known to work, and both without services' own templates.
    ///
    /// One service's own template must not keep the others from being served; but leaving own templates out comes last,
    /// because one of them may hold a restriction.
    fn candidates(&self) -> Vec<Templates> {
        let known: Vec<&Templates> = self.wanted.as_ref().ok().into_iter().chain([&self.in_force]).collect();
        let plain = known.iter().filter_map(|templates| templates.without_overrides());
        let mut choices: Vec<Templates> = Vec::new();
        for choice in known.iter().map(|templates| (*templates).clone()).chain(plain) {
            if !choices.contains(&choice) {
                choices.push(choice);
            }
        }
        choices
    }

    /// Makes Caddy take a configuration over; says why if it refuses.
    fn apply(&mut self, made: &Configuration) -> Result<Option<String>> {
        caddy::wait_until_up()?;
        let next = self.cli.output.with_file_name("Caddyfile.next");
        let next = put(&next, &made.text, Path::new(caddy::RUNTIME_DIRECTORY))?;
        match caddy::reload(&next) {
            Ok(()) => {
                self.running.clone_from(&made.text);
                // The file says what is in force, if there is room for it.
                if next.parent() == self.cli.output.parent() {
                    fs::rename(&next, &self.cli.output)
                        .with_context(|| format!("cannot write {}", self.cli.output.display()))?;
                }
                Ok(None)
            }
            Err(error) => {
                let words = caddy_error::extract_message(&format!("{error:#}"));
                let why = caddy_error::with_template_location(&words, &next, made, &self.cli.share);
                log::error!("Caddy refuses the configuration: {why}");
                if self.refused.len() >= REFUSALS {
                    self.refused.remove(0);
                }
                self.refused.push((made.text.clone(), why.clone()));
                Ok(Some(why))
            }
        }
    }

    /// Says in a file what is wrong, for the portal; removes the file when nothing is.
    fn write_problem_file(&self, trouble: Option<&str>) -> Result<()> {
        let path = self.problem_file();
        let of_templates = trouble.map(|why| format!("{why}\n{NEXT_STEP}\n"));
        let of_certificate = self.settings.certificate_problem.as_ref().map(|why| format!("{why}\n"));
        match of_templates.into_iter().chain(of_certificate).reduce(|one, other| one + &other) {
            Some(text) => {
                if atomic::write_if_changed(&path, text.as_bytes(), WriteOptions::volatile(0o644))? {
                    log::error!("{}", text.trim_end());
                }
                Ok(())
            }
            None => match fs::remove_file(&path) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => {
                    Err(error).with_context(|| format!("cannot remove {}", path.display()))
                }
                _ => Ok(()),
            },
        }
    }

    fn problem_file(&self) -> PathBuf {
        self.cli.output.with_file_name("problem.txt")
    }

    /// What is wanted but not in force is tried as soon as Caddy runs; the same goes for an old complaint's file.
    fn request_update(&self) {
        let is_problem = self.settings.certificate_problem.is_some();
        if self.wanted.as_ref() != Ok(&self.in_force) || self.problem_file().exists() || is_problem {
            // Fails only when the main loop has ended.
            let _ = self.events.sender().send(ProxyEvent::Registry);
        }
    }
}

/// What to start with, and what is left if that fails. Templates that nobody has tried yet are handed over to a Caddy that
/// already runs, because then it can refuse them; without any others there is no choice.
fn choose(wanted: Option<&Templates>, mut spare: Vec<Templates>) -> (Option<Templates>, Vec<Templates>) {
    let known = wanted.and_then(|wanted| spare.iter().position(|templates| templates == wanted));
    match known {
        Some(index) => (Some(spare.remove(index)), spare),
        None if spare.is_empty() => (wanted.cloned(), spare),
        None => (Some(spare.remove(0)), spare),
    }
}

/// The files as they are now, or why they cannot be used.
fn read(cli: &Cli) -> Result<Templates, String> {
    Templates::read(&cli.share).map_err(|error| format!("{error:#}"))
}

fn begin(cli: &Cli, made: &Configuration, events: &Events) -> Result<Caddy> {
    Caddy::start(&put(&cli.output, &made.text, Path::new(caddy::RUNTIME_DIRECTORY))?, events)
}

/// Writes a configuration and returns where it is: in another directory if its own has no room, because without Caddy
/// nobody gets in.
fn put(path: &Path, text: &str, other: &Path) -> Result<PathBuf> {
    let write = |path: &Path| atomic::write_if_changed(path, text.as_bytes(), WriteOptions::volatile(0o644));
    let Err(error) = write(path) else { return Ok(path.to_owned()) };
    let other = other.join(path.file_name().unwrap_or_default());
    log::warn!("{error:#}; the configuration is in {}", other.display());
    write(&other)?;
    Ok(other)
}

fn public_ports(services: &[Service]) -> BTreeSet<u16> {
    services.iter().map(|service| service.proxy_port).collect()
}

/// The services whose ports Caddy has or can get.
fn services_with_free_port(registry: &Registry, served: &BTreeSet<u16>) -> Result<Vec<Service>> {
    let (services, rejected) = registry.load()?;
    for file in rejected {
        log::warn!("service file {} is ignored: {}", file.file, file.reason);
    }
    Ok(services.into_iter().filter(|service| is_free(service, served)).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    fn templates(base: &str) -> Templates {
        serde_json::from_str(&format!(r#"{{"base":"{base}","service":"%PROXY_PORT%","own":{{}}}}"#)).unwrap()
    }

    #[test]
    fn a_configuration_without_room_in_its_directory_is_written_to_another() {
        let dir = tempfile::tempdir().unwrap();
        let (full, other) = (dir.path().join("full"), dir.path().join("other"));
        fs::create_dir(&other).unwrap();
        // A directory that is not there fails in the same way, and needs no mount.
        assert_eq!(put(&full.join("Caddyfile"), "x", &other).unwrap(), other.join("Caddyfile"));
        assert_eq!(fs::read_to_string(other.join("Caddyfile")).unwrap(), "x");
        fs::create_dir(&full).unwrap();
        assert_eq!(put(&full.join("Caddyfile"), "y", &other).unwrap(), full.join("Caddyfile"));
    }

    #[test]
    fn what_nobody_has_tried_is_never_what_caddy_starts_with() {
        let [edited, good, shipped] = ["edited", "good", "shipped"].map(templates);
        let spare = || vec![good.clone(), shipped.clone()];
        let chosen = |wanted: Option<&Templates>| choose(wanted, spare());
        assert_eq!(chosen(Some(&edited)), (Some(good.clone()), vec![shipped.clone()]));
        assert_eq!(chosen(None), (Some(good.clone()), vec![shipped.clone()]), "files that cannot be read");
        assert_eq!(chosen(Some(&good)), (Some(good.clone()), vec![shipped.clone()]));
        assert_eq!(chosen(Some(&shipped)), (Some(shipped.clone()), vec![good.clone()]));
        assert_eq!(choose(Some(&edited), vec![]), (Some(edited.clone()), vec![]));
        assert_eq!(choose(None, vec![]), (None, vec![]));
    }
}
