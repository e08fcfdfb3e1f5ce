//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser};

/// Do what may take long after the services have started: the stages up to ready.
#[derive(Debug, Parser)]
#[command(name = "boot", version, long_about = None)]
pub struct Cli {
    /// Write to this boot journal
    #[arg(long, value_name = "FILE", default_value = journal::PATH)]
    pub journal: PathBuf,
    /// Write the stages' logs to this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/var/log")]
    pub logs: PathBuf,
    /// Remove the stages' markers from this directory
    #[arg(long, value_name = "DIRECTORY", default_value = "/run")]
    pub markers: PathBuf,
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
