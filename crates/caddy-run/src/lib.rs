//! Start Caddy and keep its configuration up to date with the registered services.
//!
//! The configuration is `base_config` (edit it, then run `supervisorctl restart caddy`) followed by one block for each
//! registered service, generated from a template. Placeholders stand for numbers, networks and fixed words, never for text
//! from a registry file or from the environment (hazard H03). Caddy reloads when services are registered or removed.
//!
//! Caddy starts with the last templates that it accepted, and edited ones are then applied by a reload. If Caddy rejects them,
//! or cannot listen on a port, nothing changes, and `problem.txt` beside the generated file has the reason. SIGHUP rereads
//! the templates without a restart, which keeps open connections.

mod caddy;
mod caddy_error;
mod caddy_threads;
mod certificate;
mod cli;
mod configuration;
mod events;
mod last_good;
mod managed_caddy;
mod placeholders;
mod settings;

use std::io::{self, Write};

use anyhow::{Result, anyhow, bail};
use clap::Parser;
use kit::atomic::{self, WriteOptions};
use kit::{Env, Exit, Outcome};
use ports::Registry;

use cli::Cli;
pub use cli::command;
use configuration::Templates;
use events::{Events, ProxyEvent};
use last_good::LastGood;
use managed_caddy::ManagedCaddy;
use settings::Settings;

/// Runs the command line; returns when Caddy has exited.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    // `--print` and `--check` keep the account of their caller.
    if !(cli.print || cli.check) {
        kit::privileges::drop_to("caddy")?;
    }
    kit::env_scrub::reexec_with(settings::is_relevant_variable)?;
    let (mut settings, problems) = Settings::read(&Env::from_process());
    for problem in problems {
        log::warn!("{problem}");
    }
    if cli.check {
        return check(&cli, &settings);
    }
    // A second instance would stop the Caddy of the first.
    let _only = if cli.print { None } else { caddy::acquire_lock()? };
    if settings.enable_https {
        let (certificate, problem) = if cli.print {
            (certificate::path(), None)
        } else {
            certificate::certificate_file(&settings.public_names)?
        };
        (settings.certificate, settings.certificate_problem) = (Some(certificate), problem);
    }
    if cli.print {
        let (services, _) = Registry::new(&cli.registry).load()?;
        let text = Templates::read(&cli.share)?.render(&settings, &services).text;
        io::stdout().write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    serve(&cli, &settings)
}

/// Runs Caddy and handles events until it exits.
fn serve(cli: &Cli, settings: &Settings) -> Outcome {
    // Watching starts first, so that no service is missed that registers while Caddy starts.
    let events = Events::start(&cli.registry)?;
    let mut caddy = ManagedCaddy::start(cli, settings, &events)?;
    let mut stopping = false;
    loop {
        match events.next()? {
            ProxyEvent::Registry => log_failure(caddy.update()),
            ProxyEvent::Templates => {
                caddy.reread_templates();
                log_failure(caddy.update());
            }
            ProxyEvent::Stop => {
                stopping = true;
                caddy.stop()?;
            }
            ProxyEvent::Exited => {
                let status = caddy.wait()?;
                if stopping || !caddy.fall_back(status)? {
                    return Ok(status.into());
                }
            }
        }
    }
}

/// Logs a failed update; Caddy continues with its configuration.
fn log_failure(updated: Result<()>) {
    if let Err(error) = updated {
        log::error!("cannot update Caddy's configuration: {error:#}");
    }
}

/// Validates every template and saves them as the fallback; a step of the image's build.
fn check(cli: &Cli, settings: &Settings) -> Outcome {
    let templates = Templates::read(&cli.share)?;
    if let Some(why) = templates.missing_directive(settings) {
        bail!("{}/{why}", cli.share.display());
    }
    let configuration = templates.render(settings, &templates.sample_services());
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("Caddyfile");
    atomic::write(&file, configuration.text.as_bytes(), WriteOptions::volatile(0o600))?;
    caddy::validate(&file, scratch.path()).map_err(|error| {
        let message = caddy_error::extract_message(&format!("{error:#}"));
        anyhow!("{}", caddy_error::with_template_location(&message, &file, &configuration, &cli.share))
    })?;
    LastGood::new(&cli.output, &cli.shipped).save_shipped(&templates)?;
    Ok(Exit::Done)
}
