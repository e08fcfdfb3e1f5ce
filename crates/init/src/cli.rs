//! The command line.

use std::ffi::OsString;

use clap::{CommandFactory, Parser};

const NOTES: &str = "\
Next to a running supervisord it changes nothing: it exits with 0 if the settings given agree with those in force, otherwise
with 1, and names each difference and how it comes into force.";

/// Settle everything a container needs at its start, then hand over to supervisord.
#[derive(Debug, Parser)]
#[command(name = "init", version, long_about = None, after_help = NOTES)]
pub struct Cli {
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
