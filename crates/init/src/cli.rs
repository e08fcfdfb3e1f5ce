//! The command line.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

/// Settle everything a container needs at its start, then hand over to supervisord.
#[derive(Debug, Parser)]
#[command(name = "init", version, long_about = None)]
pub struct Cli {
    /// Settle everything, but do not start supervisord
    #[arg(long)]
    pub prepare_only: bool,
    /// Environment variables; each replaces the container's own of the same name
    #[arg(value_name = "NAME=VALUE")]
    pub parameters: Vec<OsString>,
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
