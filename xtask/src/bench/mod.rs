//! `cargo xtask bench`: figures, as ratios to what this machine does anyway; never a test.

mod boot;
mod gate;
mod http;
mod load;
mod logtail;
mod provision;
mod rotation;
mod spread;
mod storage;
mod workspace;

use clap::Subcommand;
use kit::{Exit, Outcome};

use crate::e2e::with_engine;
use crate::engine::Choice;

/// Measure on this machine, and compare with what the engine or a public tool does in the same run
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    what: What,
    /// Which engine to use
    #[arg(long = "engine", value_enum, default_value_t, global = true)]
    choice: Choice,
}

#[derive(Debug, Subcommand)]
enum What {
    /// From `docker run` to the login page; memory, processes and image size
    Boot(boot::Args),
    /// What asking the portal about every request costs, and what a change of the login does under load
    Gate(gate::Args),
    /// Linking 10,000 files into two applications, again, and as they come
    Storage(storage::Args),
    /// Copying, repeating, sharing blocks, permissions and boot with a tree of 5.45 GB to sync
    Workspace(workspace::Args),
    /// How much logtail takes, how soon a line is shown, and its memory; needs no engine
    Logtail(logtail::Args),
    /// How much of a script's output provision takes, its memory, and its cost without anything to do; needs no engine
    Provision(provision::Args),
}

/// Runs a measurement and prints its table.
pub fn run(args: &Args) -> Outcome {
    match &args.what {
        What::Boot(boot) => with_engine(args.choice, |_, engine| boot::run(boot, engine))?,
        What::Gate(gate) => with_engine(args.choice, |_, engine| gate::run(gate, engine))?,
        What::Storage(storage) => storage::run(storage)?,
        What::Workspace(workspace) => workspace::run(workspace, args.choice)?,
        What::Logtail(logtail) => logtail::run(logtail)?,
        What::Provision(provision) => provision::run(provision)?,
    }
    Ok(Exit::Done)
}
