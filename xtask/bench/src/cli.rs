//! Command line of `cargo xtask bench`.
use clap::{Parser, Subcommand};
use kit::logging::Verbosity;
use xtask::engine::Choice;

use crate::{boot, gate, logtail, provision, storage, workspace};

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
    /// From `docker run` to the login page; memory, processes and image size
    Boot(boot::Args),
    /// Cost of the gate for each request, and a change of the login under load
    Gate(gate::Args),
    /// Linking 10,000 files into two applications, again, and as they come
    Storage(storage::Args),
    /// Copying, repeating, sharing blocks, permissions and boot with a tree of 5.45 GB to sync
    Workspace(workspace::Args),
    /// Throughput of logtail, delay of a line, and its memory; needs no engine
    Logtail(logtail::Args),
    /// Throughput of provision, its memory, and its cost without anything to do; needs no engine
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
