//! `cargo xtask up`: from a checkout to a portal that answers.

mod answer;
pub(crate) mod container;
mod gpu;
mod options;
mod port;
mod portal;

use std::env;
use std::io::{self, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::checkout::Checkout;
use crate::engine::{self, Choice, Engine};
use crate::image::{self, Built};
use answer::Answer;
use container::{Action, Seen};
use options::Options;
use port::Published;

/// The name of the container unless another is given.
pub const DEFAULT_NAME: &str = "leonardo";

/// Build the image, start it and wait until its portal answers; a second call changes nothing
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to build and run, as in `bake` [default: cpu-22.04, or cpu-debian-12 without a container registry]
    #[arg(long)]
    variant: Option<String>,
    /// The container's name
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// The portal's port on this machine [default: 1111, or the next free one]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    portal_port: Option<u16>,
    /// The SSH server's port on this machine [default: 2222, or the next free one]
    #[arg(long, value_name = "P", value_parser = clap::value_parser!(u16).range(1..))]
    ssh_port: Option<u16>,
    /// The address of this machine on which the ports are open
    #[arg(long, value_name = "ADDRESS", default_value_t = IpAddr::V4(Ipv4Addr::LOCALHOST))]
    bind: IpAddr,
    /// The directory that becomes /workspace [default: workspace in the checkout]
    #[arg(long, value_name = "DIR")]
    workspace: Option<PathBuf>,
    /// A setting of the container; with the name alone it has the value that it has here
    #[arg(long = "env", value_name = "NAME[=VALUE]")]
    environment: Vec<String>,
    /// A file with the public key that may log in by SSH
    #[arg(long, value_name = "FILE")]
    ssh_key: Option<PathBuf>,
    /// Which engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    choice: Choice,
    /// Print one JSON object
    #[arg(long)]
    json: bool,
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    container::check_name(&args.name)?;
    let options = Options::read(args, &Checkout::find()?, |name| env::var_os(name))?;
    let engine = engine::find(args.choice)?;
    let built = image::build(&engine, args.variant.as_deref())?;
    let digest = options.digest(&built.id);
    let seen = container::find(&engine, &args.name)?;
    match container::decide(seen.as_ref(), &args.name, &digest)? {
        Action::Keep => log::info!("{} runs already, with nothing changed", args.name),
        Action::Create => create(&engine, args, &options, &built, &digest, None)?,
        Action::Replace => create(&engine, args, &options, &built, &digest, seen.as_ref())?,
    }
    let ports = container::published(&engine, &args.name, &options)?;
    let url = portal::url(options.bind, ports.portal);
    log::info!("waiting for the portal at {url}");
    let url = portal::wait(&engine, &args.name, &url)?;
    let credentials = portal::credentials(&engine, &args.name)?;
    let answer = Answer::new(&args.name, &built, &engine, url, ports, &options, credentials);
    let text = if args.json { answer.json()? } else { answer.text() };
    io::stdout().write_all(text.as_bytes())?;
    Ok(Exit::Done)
}

fn create(
    engine: &Engine,
    args: &Args,
    options: &Options,
    built: &Built,
    digest: &str,
    old: Option<&Seen>,
) -> Result<()> {
    let held = old.map(|old| old.ports.as_slice()).unwrap_or_default();
    let free = |port| held.contains(&port) || port::is_free(options.bind, port);
    let ports = Published::choose(args.portal_port, args.ssh_port, free)?;
    for moved in ports.moved(args.portal_port, args.ssh_port) {
        log::warn!("{moved}");
    }
    options.make_workspace()?;
    if let Some(old) = old {
        log::info!("replacing {}, because image or options have changed or it has stopped", args.name);
        container::remove(engine, &old.id)?;
    }
    log::info!("starting {}", args.name);
    let gpus = gpu::arguments(&built.variant, |node| Path::new(node).exists());
    container::start(engine, &args.name, &built.image, digest, options, ports, &gpus)
}
