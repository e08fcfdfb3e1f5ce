//! `cargo xtask down`: the end of what `up` has started.

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::engine;
use crate::up::{DEFAULT_NAME, container};

/// Stop and remove the container; its workspace and the image stay
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The container's name
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
    log::info!("{} {}", args.name, if removed { "is stopped and removed" } else { "is not there" });
    if args.engine {
        let stopped = engine::stop_private()?;
        log::info!(
            "{}",
            if stopped { "the private engine is stopped" } else { "no private engine is running" }
        );
    }
    Ok(Exit::Done)
}

/// Wherever it is: `up --engine system` may have put it beside a private engine.
fn remove(name: &str) -> Result<bool> {
    let mut removed = false;
    for engine in engine::running()? {
        removed |= container::remove_ours(&engine, name)?;
    }
    Ok(removed)
}
