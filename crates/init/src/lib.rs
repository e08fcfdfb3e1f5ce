//! Settle everything a container needs at its start, then hand over to supervisord.
//!
//! `init.sh` runs this as the container's first process. It reads `NAME=VALUE` parameters and the environment,
//! decides all settings once, and brings directories, keys, credentials, the system user and the environment
//! store into the state that follows from them. Every step is local and quick (no network, no waiting, no walk
//! over a tree) and changes nothing that is already right, so `docker restart` repeats it harmlessly.
//!
//! A bad *value* never stops a start: it is reported (container log, boot journal, portal) and the safe default is
//! used. A bad *parameter* (no `=`) ends with exit code 2. Then this process becomes supervisord, so that PID 1
//! reaps orphans and turns SIGTERM into an orderly stop.

mod account;
mod autostart;
mod capabilities;
mod cli;
mod credentials;
mod directories;
mod environment;
mod folder;
mod home;
mod keys;
mod launch;
mod limits;
mod parameters;
mod password;
mod person;
mod roster;
mod settings;
mod sudo;
mod tls;
mod volume;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use journal::{Event, Journal};
use kit::{Env, Exit, Outcome, Problem};

pub use cli::command;

/// Runs the command line; returns only when it was asked not to start supervisord.
pub fn run() -> Outcome {
    let started = Instant::now();
    let cli = cli::Cli::try_parse()?;
    let parameters = parameters::parse(&cli.parameters)?;
    capabilities::Rights::check()?;
    let mut env = Env::of_process();
    parameters.into_iter().for_each(|(name, value)| env.set(name, value));
    let problems = prepare(&mut env)?;
    report(&problems, started)?;
    if cli.prepare_only {
        return Ok(Exit::Done);
    }
    Err(launch::supervisord(&env))
}

/// Brings the container into the state that `env` asks for, and adds to `env` what programs shall inherit.
fn prepare(env: &mut Env) -> Result<Vec<Problem>> {
    let (settings, mut problems) = settings::Settings::read(env);
    let leonardo = account::group_id("leonardo")?;
    let rights = capabilities::Rights::of_process()?;
    problems.extend(rights.problems(settings.ssh_port));
    limits::raise_open_files(&mut problems);
    // caddy-run uses them; what is wrong belongs to the other problems of a start.
    problems.extend(cloud::trusted_proxies(env).1);
    directories::prepare(leonardo)?;
    // Before anything that takes time: whoever asks during a restart must not hear of the boot before it.
    Journal::at(Path::new(journal::PATH)).begin()?;
    let keys = keys::settle(&settings, &mut problems);
    let web = credentials::settle(&settings.web, &mut problems)?;
    if settings.web.enable_https {
        tls::settle(env, &mut problems)?;
    }
    let workspace = volume::prepare(settings.workspace.clone(), settings.image_slug.clone(), &mut problems);
    // Programs shall find the workspace's environments from the first moment on, if they are there.
    let memory = Path::new(workspace_sync::MEMORY);
    problems.extend(workspace_sync::adopt(Path::new("/opt"), &workspace, env, memory));
    let gpus = gpu_limit::limit(env, &gpu_limit::discover(&gpu_limit::Roots::default()));
    account::settle(&settings, &workspace, &mut problems);
    // The account has it now; no program and no session needs it.
    env.unset("USER_PASSWORD");
    env.set("WEB_ENABLE_AUTH", settings.web.enable_auth.to_string());
    env.set("WEB_ENABLE_HTTPS", settings.web.enable_https.to_string());
    web.variables().into_iter().for_each(|(name, value)| env.set(name, value));
    workspace.export(env);
    autostart::export(&settings, !keys.is_empty() && rights.sshd_works(), env);
    gpus.variables.into_iter().for_each(|(name, value)| env.set(name, value));
    problems.extend(gpus.problems);
    environment::persist(env, &mut problems)?;
    Ok(problems)
}

/// Tells the container's log and the journal what was wrong, and how long it took.
fn report(problems: &[Problem], started: Instant) -> Result<()> {
    let journal = Journal::at(Path::new(journal::PATH));
    for problem in problems {
        log::warn!("{problem}");
        journal
            .append(Event::Problem { setting: problem.setting.clone(), message: problem.message.clone() })?;
    }
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    journal.append(Event::InitEnded { milliseconds })
}
