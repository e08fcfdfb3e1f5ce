//! `cargo xtask images`: what the images are built from.

mod downloads;
mod lock_file;
pub mod readme;
mod update;

pub use lock_file::{FILE as LOCK_FILE, LockFile};

use clap::Subcommand;
use kit::Outcome;

/// Check and refresh what the images are built from
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Update(update::Args),
    Downloads(downloads::Args),
    Readme(readme::Args),
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    match &args.task {
        Task::Update(args) => update::run(args),
        Task::Downloads(args) => downloads::run(args),
        Task::Readme(args) => readme::run(args),
    }
}
