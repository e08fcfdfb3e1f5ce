//! Command line of `cargo xtask bench`.
use clap::{Parser, Subcommand};
use kit::logging::Verbosity;
use xtask::engine::Choice;

use crate::{boot, gate, log_history, log_page, logtail, provision, storage, workspace};

/// Run benchmarks on this machine and compare with public tools
#[derive(Debug, Parser)]
#[command(name = "cargo xtask bench", bin_name = "cargo xtask bench")]
pub struct Cli {
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t, global = true)]
    pub choice: Choice,
    #[command(subcommand)]
    pub measurement: Measurement,
}

/// Measurement to run.
#[derive(Debug, Subcommand)]
pub enum Measurement {
    Boot(boot::Args),
    Gate(gate::Args),
    Storage(storage::Args),
    Workspace(workspace::Args),
    LogHistory(log_history::Args),
    LogPage(log_page::Args),
    Logtail(logtail::Args),
    Provision(provision::Args),
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
