//! Command line of `rclone-run`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

const EPILOGUE: &str = "\
Examples:
  rclone config                 add a remote; it is mounted seconds later
  findmnt -t fuse.rclone        remotes that are mounted
  supervisorctl restart rclone  mount all remotes again, with changed options

Files:
  /etc/rclone/rclone.conf   configuration
  /var/lib/leonardo/rclone  cache

Environment:
  WORKSPACE  remotes are mounted below $WORKSPACE/remote
  RCLONE_*   options and remotes of rclone";

/// Mount the configured rclone remotes, and make rclone's configuration reachable
#[derive(Debug, Parser)]
#[command(name = "rclone-run", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Task; mounts remotes without one
    #[command(subcommand)]
    pub task: Option<Task>,
    /// Program, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = "/usr/bin/rclone")]
    pub rclone: PathBuf,
    /// Environment store, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = env_store::PATH)]
    pub store: PathBuf,
    /// Journal, for tests
    #[arg(long, value_name = "FILE", hide = true, default_value = journal::PATH)]
    pub journal: PathBuf,
}

/// Tasks of other processes than the main one.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Pass connections to rclone's interactive configuration (started by rclone-run)
    #[command(hide = true)]
    Relay,
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
