//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, CommandFactory, Parser, Subcommand, ValueEnum};
use journal::Stage;

/// Do what may take long after the services have started, and tell how far that is.
#[derive(Debug, Parser)]
#[command(name = "boot", version, long_about = None)]
pub struct Cli {
    /// Use this boot journal instead of the container's
    #[arg(long, global = true, value_name = "FILE", default_value = journal::PATH)]
    pub journal: PathBuf,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run all stages; supervisord does this
    Run(Box<Run>),
    /// Show what took how long, what failed, and what to do about it
    Report {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Wait until a stage has ended; exit with 1 if it failed, with 124 if the time is over
    Wait(Wait),
    /// Say in a few lines what a person who logs in should know; say nothing if all is well
    Banner,
    /// Ask the portal whether it answers, and name programs that are down; the engine's health check
    Health,
}

#[derive(Debug, Args)]
pub struct Run {
    /// Write the stages' logs to this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/log")]
    pub logs: PathBuf,
    /// Remove the stages' markers from this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/run")]
    pub markers: PathBuf,
    /// Take the preflight hooks from this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/opt/leonardo/bin")]
    pub hooks: PathBuf,
    /// Keep what the hooks export in this store
    #[arg(long, value_name = "FILE", default_value = env_store::PATH)]
    pub store: PathBuf,
    /// Write the names of what they export to this record of the container
    #[arg(long, value_name = "FILE", default_value = env_store::ContainerRecord::PATH)]
    pub record: PathBuf,
    /// Find the programs of extended images in this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/etc/supervisor/conf.d")]
    pub programs: PathBuf,
    /// Show supervisord that directory through this link
    #[arg(long, value_name = "LINK", default_value = "/run/leonardo/programs")]
    pub shown: PathBuf,
}

#[derive(Debug, Args)]
pub struct Wait {
    /// What to wait for
    pub stage: WaitStage,
    /// Give up after this long, for example 90s, 15m or 2h
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub timeout: Option<Duration>,
    /// Then become this command, however the stage ended
    #[arg(last = true, value_name = "COMMAND")]
    pub command: Vec<OsString>,
}

/// The stages by the names that the report has for them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum WaitStage {
    /// Synced trees are on the workspace
    Sync,
    /// Owners, modes and access lists are right
    Permissions,
    /// Hooks of extended images have run
    Preflight,
    /// The user's own script has run
    Provisioning,
    /// Programs of extended images have been started
    Programs,
    /// Every stage but sync and permissions has ended
    Ready,
}

impl From<WaitStage> for Stage {
    fn from(awaited: WaitStage) -> Self {
        match awaited {
            WaitStage::Sync => Self::Sync,
            WaitStage::Permissions => Self::Permissions,
            WaitStage::Preflight => Self::Preflight,
            WaitStage::Provisioning => Self::Provisioning,
            WaitStage::Programs => Self::Programs,
            WaitStage::Ready => Self::Ready,
        }
    }
}

fn duration(text: &str) -> Result<Duration, String> {
    kit::settings::duration(text).ok_or_else(|| "write it as 90s, 15m, 2h or 7d".to_owned())
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
