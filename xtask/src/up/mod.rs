//! `cargo xtask up`: builds the image, starts a container, waits for its portal and lets it check itself.

mod cli;
pub(crate) mod container;
mod gpu;
mod options;
mod portal;
mod published_ports;
mod self_test;
mod up_output;

pub use cli::{Args, DEFAULT_NAME};

use std::env;
use std::io::{self, Write};
use std::path::Path;

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::checkout::Checkout;
use crate::engine::{self, Engine};
use crate::image::{self, Built};
use crate::step;
use container::{Action, ExistingContainer};
use options::Options;
use published_ports::Published;
use up_output::UpOutput;

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    container::check_name(&args.name)?;
    let options = Options::read(args, &Checkout::find()?, |name| env::var_os(name))?;
    let engine = engine::find(args.choice)?;
    let built = image::build(&engine, args.variant.as_deref())?;
    let digest = options.digest(&built.id);
    let existing = container::find(&engine, &args.name)?;
    match container::decide(existing.as_ref(), &args.name, &digest)? {
        Action::Keep => log::info!("{} is already running and up to date", args.name),
        Action::Create => create(&engine, args, &options, &built, &digest, None)?,
        Action::Replace => create(&engine, args, &options, &built, &digest, existing.as_ref())?,
    }
    let services = container::services(&engine, &built.image)?;
    let ports = container::published(&engine, &args.name, &options, &services)?;
    let address = portal::address(options.bind, ports.portal);
    let url = step::with(&format!("wait for the portal at http://{address}"), || {
        portal::wait(&engine, &args.name, address)
    })?;
    let credentials = portal::credentials(&engine, &args.name)?;
    let answer = UpOutput::new(&args.name, &built, &engine, url, &ports, &options, credentials);
    if !args.json {
        io::stdout().write_all(answer.text().as_bytes())?;
    }
    // A container that answers is handed over, whatever the checks say.
    let tested = step::with("let it check itself", || self_test::run(&engine, &args.name));
    let tested = tested.inspect_err(|error| log::warn!("the self-test could not be run: {error:#}")).ok();
    let answer = answer.with_self_test(tested);
    let text = if args.json { answer.json()? } else { answer.self_test_text() };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

fn create(
    engine: &Engine,
    args: &Args,
    options: &Options,
    built: &Built,
    digest: &str,
    old: Option<&ExistingContainer>,
) -> Result<()> {
    let held = old.map(|old| old.ports.as_slice()).unwrap_or_default();
    let free = |port| held.contains(&port) || published_ports::is_free(options.bind, port);
    let services = container::services(engine, &built.image)?;
    let ports = Published::choose(args.portal_port, args.ssh_port, &services, free)?;
    for moved in ports.moved_ports(args.portal_port, args.ssh_port) {
        log::warn!("{moved}");
    }
    options.make_workspace()?;
    if let Some(old) = old {
        log::info!("replacing {}, because image or options have changed or it has stopped", args.name);
        container::remove(engine, &args.name, &old.id)?;
    }
    let gpus = gpu::arguments(&built.tag, |node| Path::new(node).exists());
    step::with(&format!("start {}", args.name), || {
        container::start(engine, &args.name, &built.image, digest, options, &ports, &gpus)
    })
}
