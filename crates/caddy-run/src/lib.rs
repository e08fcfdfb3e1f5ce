//! Start Caddy and keep its configuration up to date with the registered services.
//!
//! The configuration is `base_config` (yours to edit, then `supervisorctl restart caddy`) followed by one block for each
//! registered service, made from a template. Only numbers, networks and words of ours are put into a template, never a
//! text from a registry file or from the environment (hazard H03). When a service comes or goes, Caddy reloads.
//!
//! Edited templates are handed over to a Caddy that already runs with the last good ones, so what it refuses, or cannot
//! listen to, changes nothing; `problem.txt` beside the generated file then says what is wrong. SIGHUP makes it look at
//! the templates without a restart, which leaves open streams alone.

mod caddy;
mod caddy_error;
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

/// Runs the command line; returns when Caddy has ended.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    // The other two answer whoever asks, and serve nobody.
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
    // A second one would end the Caddy of the first.
    let _only = if cli.print { None } else { caddy::acquire_lock()? };
    if settings.enable_https {
        let (pair, problem) = if cli.print {
            (certificate::path(), None)
        } else {
            certificate::certificate_file(&settings.public_names)?
        };
        (settings.pair, settings.certificate_problem) = (Some(pair), problem);
    }
    if cli.print {
        let (services, _) = Registry::new(&cli.registry).load()?;
        let text = Templates::read(&cli.share)?.render(&settings, &services).text;
        io::stdout().write_all(text.as_bytes())?;
        return Ok(Exit::Done);
    }
    serve(&cli, &settings)
}

fn serve(cli: &Cli, settings: &Settings) -> Outcome {
    // The watch comes first: a service that registers while Caddy starts must not be missed.
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
            ProxyEvent::Ended => {
                let status = caddy.wait()?;
                if stopping || !caddy.fall_back(status)? {
                    return Ok(status.into());
                }
            }
        }
    }
}

/// Whatever happens, what is served goes on being served.
fn log_failure(updated: Result<()>) {
    if let Err(error) = updated {
        log::error!("Caddy keeps its configuration: {error:#}");
    }
}

/// Asks Caddy about every template, and keeps them as what to fall back on; a step of the image's build.
fn check(cli: &Cli, settings: &Settings) -> Outcome {
    let templates = Templates::read(&cli.share)?;
    if let Some(why) = templates.missing_directive(settings) {
        bail!("{}/{why}", cli.share.display());
    }
    let made = templates.render(settings, &templates.sample_services());
    let scratch = tempfile::tempdir()?;
    let file = scratch.path().join("Caddyfile");
    atomic::write(&file, made.text.as_bytes(), WriteOptions::volatile(0o600))?;
    caddy::validate(&file, scratch.path()).map_err(|error| {
        let words = caddy_error::extract_message(&format!("{error:#}"));
        anyhow!("{}", caddy_error::with_template_location(&words, &file, &made, &cli.share))
    })?;
    LastGood::new(&cli.output, &cli.shipped).save_shipped(&templates)?;
    Ok(Exit::Done)
}
