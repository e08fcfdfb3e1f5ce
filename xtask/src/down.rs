//! `cargo xtask down`: removes the container that `up` started.

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::engine;
use crate::up::{DEFAULT_NAME, container};

/// Stop and remove the container; its workspace and the image stay
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Name of the container
    #[arg(long, default_value = DEFAULT_NAME)]
    name: String,
    /// Also stop this checkout's private engine
    #[arg(long)]
    engine: bool,
}

/// Runs the task; nothing to stop is fine.
pub fn run(args: &Args) -> Outcome {
    container::check_name(&args.name)?;
    let removed = remove(&args.name)?;
    let result = if removed { "stopped and removed" } else { "no such container:" };
    log::info!("{result} {}", args.name);
    if args.engine {
        let stopped = engine::stop_private()?;
        log::info!("{}", if stopped { "stopped the private engine" } else { "no private engine is running" });
    }
    Ok(Exit::Done)
}

/// Removes the container from every running engine: `up --engine system` may have started it beside a private one.
fn remove(name: &str) -> Result<bool> {
    let mut removed = false;
    for engine in engine::running()? {
        removed |= container::remove_ours(&engine, name)?;
    }
    Ok(removed)
}
