//! Command line of `provision`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use kit::logging::Verbosity;

const EPILOGUE: &str = "\
Examples:
  provision status
  provision run --dry-run
  sudo provision run --force

Environment:
  PROVISIONING_SCRIPT         URL of the script
  PROVISIONING_SCRIPT_SHA256  SHA-256 that the script must have
  PROVISIONING_TIMEOUT        maximum run time, such as 30m";

/// Fetch the provisioning script and run it once.
#[derive(Debug, Parser)]
#[command(name = "provision", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// Directory of the script and its record, for tests
    #[arg(long, global = true, hide = true, value_name = "DIRECTORY", default_value = crate::STATE_DIRECTORY)]
    pub state: PathBuf,
    /// File for the script's output, for tests
    #[arg(long, global = true, hide = true, value_name = "FILE", default_value = crate::LOG)]
    pub log: PathBuf,
    /// Script to run if there is no URL, for tests
    #[arg(long, global = true, hide = true, value_name = "FILE", default_value = crate::MOUNTED_SCRIPT)]
    pub mounted: PathBuf,
    /// Store of variables that are not set, for tests
    #[arg(long, global = true, hide = true, value_name = "FILE", default_value = env_store::PATH)]
    pub store: PathBuf,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run the script unless it has already run successfully
    Run(RunOptions),
    /// Show the configured script, the last run and its result
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Become the script, as the system user
    #[command(hide = true)]
    Launch(Launch),
    /// End the session of a killed run
    #[command(hide = true)]
    Guard {
        /// Session of the script
        #[arg(long)]
        session: i32,
        /// Divide all times by this number, for tests
        #[arg(long, default_value_t = 1)]
        time_divisor: u32,
    },
}

#[derive(Debug, clap::Args)]
#[expect(clippy::struct_excessive_bools, reason = "they are flags")]
pub struct RunOptions {
    /// Run the script even if it has already run successfully
    #[arg(long)]
    pub force: bool,
    /// Wait for a run in progress instead of failing
    #[arg(long, conflicts_with = "dry_run")]
    pub wait: bool,
    /// Fetch and check the script, without running it
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object
    #[arg(long, conflicts_with = "dry_run")]
    pub json: bool,
    /// Boot journal, for tests
    #[arg(long, hide = true, value_name = "FILE", default_value = journal::PATH)]
    pub journal: PathBuf,
    /// Skip a script that has failed in a run with the same word
    #[arg(long, hide = true)]
    pub attempt: Option<String>,
    /// Divide all times by this number, for tests
    #[arg(long, hide = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub time_divisor: u32,
    /// Maximum size of each file of the log in bytes, for tests
    #[arg(long, hide = true, default_value_t = crate::log_file::LIMIT)]
    pub log_limit: u64,
}

#[derive(Debug, clap::Args)]
pub struct Launch {
    /// Account that the script runs as
    #[arg(long)]
    pub user: String,
    /// Process whose end kills the script
    #[arg(long)]
    pub parent: i32,
    /// Run the interpreter of the script's shebang
    #[arg(long)]
    pub own_interpreter: bool,
    /// Path of the script
    pub script: PathBuf,
}

/// Returns the command line, for the generator of the manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
