//! Run a web service: register its port, wait for its stage, and stay with its program.
//!
//! One line in `/etc/supervisor/conf.d` puts a program behind the login:
//! `command=service-run --name ComfyUI --port 8188 -- python main.py --port {listen}`
//!
//! The service is registered at once, so that the portal shows it while it waits, starts or has failed. Then
//! `service-run` waits for a stage of the boot, starts the program as the system user with the stored variables, and
//! requests its health path until it answers. It stays the program's parent: it forwards signals, ends with the program's
//! exit code, and the kernel kills the program with it.
//!
//! # The registration
//!
//! | event | registration | exit code |
//! |---|---|---|
//! | the program exits with 0 | is removed | 0 |
//! | the program fails or cannot be run | stays, with the cause | the program's, 128+n for signal n, 126, 127 |
//! | SIGTERM, SIGINT or SIGQUIT | is removed after the program has ended | the program's |
//! | SIGKILL | stays until the next start | |
//!
//! With `--per-gpu`, each visible GPU has an instance of its own, which is started again when it ends, after 0, 1, 2 … 30
//! seconds. Then only a signal ends `service-run`. Without a visible GPU, there is one instance, as without `--per-gpu`.
//!
//! SIGHUP, SIGUSR1 and SIGUSR2 are only forwarded. While the service waits for its stage, SIGHUP ends it too.

mod account;
mod cli;
mod declaration;
mod health;
mod lifecycle;
mod listen_port;
mod output;
mod placeholders;
mod program;
mod registration;
mod signals;
mod stage;
mod supervision;

use std::sync::mpsc;

use anyhow::{Error, Result};
use clap::Parser;
use gpu_limit::{Device, KernelRoot};
use kit::exit::with_hint;
use kit::{Env, Outcome, UsageError, unix_time};
use ports::Phase;

use cli::Cli;
pub use cli::command;
pub use declaration::Declaration;
use program::Program;
use registration::Registration;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    check_listen(&cli)?;
    let account = account::switch(cli.user.as_deref())?;
    let (sender, events) = mpsc::channel();
    signals::report(sender.clone())?;
    let stage = cli.after.0;
    let (phase, awaited) = match stage {
        Some(stage) => (Phase::Waiting, Some(stage.to_string())),
        None => (Phase::Starting, None),
    };
    let first = lifecycle::status(phase, unix_time::now(), awaited.as_deref());
    let mut registration = Registration::claim(&cli, first)?;
    if let Some(stage) = stage
        && let Some(signal) = stage::wait(stage, &sender, &events)?
    {
        registration.remove();
        return Ok(lifecycle::ended_by(signal));
    }
    let env = account::environment(&cli.store, account.as_ref(), cli.port);
    let programs = programs(&cli, &env, &mut registration).inspect_err(|error| {
        let cause = format!("{error:#}");
        registration.publish(lifecycle::status(Phase::Failed, unix_time::now(), Some(&cause)), Vec::new());
    })?;
    Ok(supervision::run(&programs, &mut registration, &sender, &events))
}

/// Fails if the program does not get its port on loopback.
fn check_listen(cli: &Cli) -> Result<()> {
    if cli.listen_port.is_none() && !placeholders::is_used(&cli.command) {
        let error = UsageError("the command does not contain {listen}".to_owned());
        let hint = "the program has to listen on that port of 127.0.0.1; for one with a fixed port, add --listen-port PORT";
        return Err(with_hint(error.into(), hint.to_owned()));
    }
    Ok(())
}

/// Returns the GPUs that get an instance each; none, which is logged, on a machine without a GPU.
fn visible_gpus(cli: &Cli, env: &Env) -> Result<Vec<Device>> {
    let gpus = gpu_limit::discover(&KernelRoot { root: cli.root.clone() });
    let devices = gpu_limit::devices(env, &gpus).map_err(Error::msg)?;
    if devices.is_empty() {
        let remarks = gpus.remarks.iter().map(|remark| format!("; {remark}")).collect::<Vec<_>>().concat();
        log::warn!("no GPU is visible in this container, so one instance runs without a GPU{remarks}");
    }
    Ok(devices)
}

/// Returns the program of each instance, with its port and the variables that pin it to its GPU.
fn programs(cli: &Cli, env: &Env, registration: &mut Registration) -> Result<Vec<Program>> {
    let mut devices = if cli.per_gpu { visible_gpus(cli, env)? } else { Vec::new() };
    let labels: Vec<String> = devices.iter().map(|device| device.label.clone()).collect();
    if devices.is_empty() {
        devices.push(Device { label: cli.name.clone(), variables: Vec::new() });
    }
    let listen_ports = registration.choose_ports(&labels, cli.listen_port)?;
    let program = |(device, listen_port): (Device, u16)| {
        let mut env = env.clone();
        for (name, value) in device.variables {
            match value {
                Some(value) => env.set(name, value),
                None => env.unset(name),
            }
        }
        Program {
            label: device.label,
            command: cli.command.clone(),
            env,
            listen_port,
            health: cli.health.clone(),
            is_labelled: !labels.is_empty(),
        }
    };
    Ok(devices.into_iter().zip(listen_ports).map(program).collect())
}
