//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

/// Fetch the user's own script and run it once.
#[derive(Debug, Parser)]
#[command(name = "provision", version, long_about = None)]
pub struct Cli {
    /// Keep the script and what became of it in this directory
    #[arg(long, global = true, value_name = "DIRECTORY", default_value = crate::STATE_DIRECTORY)]
    pub state: PathBuf,
    /// Write the script's output to this file
    #[arg(long, global = true, value_name = "FILE", default_value = crate::LOG)]
    pub log: PathBuf,
    /// Take this script if no address was given
    #[arg(long, global = true, value_name = "FILE", default_value = crate::MOUNTED_SCRIPT)]
    pub mounted: PathBuf,
    /// Take variables that are not set from this store
    #[arg(long, global = true, value_name = "FILE", default_value = env_store::PATH)]
    pub store: PathBuf,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Fetch the script, and run it unless this very script has ended well before
    Run(Run),
    /// Show what was asked for, what ran and how it ended
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Become the script, as the system user
    #[command(hide = true)]
    Launch(Launch),
    /// End what a killed run leaves behind
    #[command(hide = true)]
    Guard {
        /// The script's session
        #[arg(long)]
        session: i32,
        /// Divide all times by this number
        #[arg(long, default_value_t = 1)]
        time_divisor: u32,
    },
}

#[derive(Debug, clap::Args)]
pub struct Run {
    /// Run the script although it has ended well before
    #[arg(long)]
    pub force: bool,
    /// Wait for a run that is under way, instead of giving up because of it
    #[arg(long)]
    pub wait: bool,
    /// Print one JSON object about what happened
    #[arg(long)]
    pub json: bool,
    /// Tell this boot journal what is being done
    #[arg(long, value_name = "FILE", default_value = journal::PATH)]
    pub journal: PathBuf,
    /// Leave a script alone that has failed in a run with the same word
    #[arg(long, hide = true)]
    pub attempt: Option<String>,
    /// Divide all times by this number
    #[arg(long, hide = true, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..))]
    pub time_divisor: u32,
    /// Keep at most so many bytes in each file of the log
    #[arg(long, hide = true, default_value_t = crate::log_file::LIMIT)]
    pub log_limit: u64,
}

#[derive(Debug, clap::Args)]
pub struct Launch {
    /// The account whose script this is
    #[arg(long)]
    pub user: String,
    /// The process without which the script shall not be
    #[arg(long)]
    pub parent: i32,
    /// The script's first line names its interpreter
    #[arg(long)]
    pub own_interpreter: bool,
    /// The script
    pub script: PathBuf,
}

/// The command line as data, for the generator of the manual pages.
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
