//! Command line of `boot`.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand};
use journal::Stage;

const EPILOGUE: &str = "\
Examples:
  boot report
  boot wait sync --timeout 15m
  boot wait ready -- jupyter lab";

/// Run the late boot stages and report their progress.
#[derive(Debug, Parser)]
#[command(name = "boot", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Use this boot journal, for tests
    #[arg(long, global = true, hide = true, value_name = "FILE", default_value = journal::PATH)]
    pub journal: PathBuf,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run all stages (started by supervisord)
    Run(Box<Run>),
    /// Show the duration and result of each stage, and how to fix failures
    Report {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Wait for a stage to end; exits with 1 if it failed, with 124 on a timeout
    Wait(Wait),
    /// Print startup progress or failures, as shown at login
    Banner,
    /// Check whether the portal answers, and list failed programs
    Health,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Directory of the stages' logs, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = "/var/log")]
    pub logs: PathBuf,
    /// Directory of the stages' markers, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = "/run")]
    pub markers: PathBuf,
    /// Directory of the preflight hooks, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = "/opt/leonardo/bin")]
    pub hooks: PathBuf,
    /// Environment store for what the hooks export, for tests
    #[arg(long, hide = true, value_name = "FILE", default_value = env_store::PATH)]
    pub store: PathBuf,
    /// Record of the variables that the container stored, for tests
    #[arg(long, hide = true, value_name = "FILE", default_value = env_store::ContainerRecord::PATH)]
    pub record: PathBuf,
    /// Directory with programs of extended images, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = "/etc/supervisor/conf.d")]
    pub programs: PathBuf,
    /// Link through which supervisord sees that directory, for tests
    #[arg(long, hide = true, value_name = "LINK", default_value = "/run/leonardo/programs")]
    pub shown: PathBuf,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// Stage to wait for
    pub stage: Stage,
    /// Give up after this time, such as 90s, 15m or 2h
    #[arg(long, value_name = "DURATION", value_parser = kit::duration::argument)]
    pub timeout: Option<Duration>,
    /// Command to run afterwards, even if the stage failed
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
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
