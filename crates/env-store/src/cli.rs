//! Command line of `env-store`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

const EPILOGUE: &str = "\
Examples:
  sudo env-store set HF_HOME=/workspace/hf
  env-store list
  env-store exec -- python3 train.py";

/// Manage the environment variables of every session.
#[derive(Debug, Parser)]
#[command(name = "env-store", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Use this store, for tests
    #[arg(long, global = true, hide = true, value_name = "FILE", default_value = crate::PATH)]
    pub file: PathBuf,
    #[command(subcommand)]
    pub task: Task,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Set variables for sessions that start from now on
    Set {
        /// Variable and value; everything after the first `=` is the value
        #[arg(required = true, value_name = "NAME=VALUE")]
        assignments: Vec<OsString>,
    },
    /// Remove variables; a missing one is not an error
    Unset {
        /// Variable to remove
        #[arg(required = true, value_name = "NAME")]
        names: Vec<String>,
    },
    /// List the stored variables, with secrets masked
    List {
        /// Show passwords and tokens
        #[arg(long)]
        show_secrets: bool,
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Run a command with the stored variables
    Exec {
        /// Command and its arguments
        #[arg(required = true, trailing_var_arg = true, allow_hyphen_values = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
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
