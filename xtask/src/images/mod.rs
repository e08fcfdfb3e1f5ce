//! `cargo xtask images`: what the images are built from, and what is wrong in them.

mod config_findings;
mod downloads;
mod image_difference;
mod layer_archive;
mod layer_findings;
mod lint;
mod lock_file;
mod oci_layout;
pub mod readme;
pub mod registry;
mod reproduce;
mod update;

pub use lock_file::{FILE as LOCK_FILE, LockFile, is_digest};

use clap::Subcommand;
use kit::Outcome;

const EPILOGUE: &str = "\
Examples:
  cargo xtask images update
  cargo xtask images lint my-image:latest
  cargo xtask images reproduce cpu-debian-12";

/// Check images, and refresh what they are built from
#[derive(Debug, clap::Args)]
#[command(after_help = EPILOGUE)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    Update(update::Args),
    Downloads(downloads::Args),
    Lint(lint::Args),
    Readme(readme::Args),
    Reproduce(reproduce::Args),
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    match &args.task {
        Task::Update(args) => update::run(args),
        Task::Downloads(args) => downloads::run(args),
        Task::Lint(args) => lint::run(args),
        Task::Readme(args) => readme::run(args),
        Task::Reproduce(args) => reproduce::run(args),
    }
}
