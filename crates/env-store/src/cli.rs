//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

/// Keep environment variables for every kind of session.
#[derive(Debug, Parser)]
#[command(name = "env-store", version, long_about = None)]
pub struct Cli {
    /// Use this store instead of the container's
    #[arg(long, global = true, value_name = "FILE", default_value = crate::PATH)]
    pub file: PathBuf,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Store variables; sessions that start from now on have them
    Set {
        /// What to store; everything behind the first `=` is the value
        #[arg(required = true, value_name = "NAME=VALUE")]
        assignments: Vec<OsString>,
    },
    /// Forget variables; one that is not stored is fine
    Unset {
        /// What to forget
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// Show what is stored, secrets masked
    List {
        /// Show passwords and tokens too
        #[arg(long)]
        show_secrets: bool,
    },
    /// Run a command with the stored variables
    Exec {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
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
