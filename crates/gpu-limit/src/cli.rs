//! The command line.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

const EPILOGUE: &str = "\
Environment:
  GPU_COUNT  how many GPUs programs may see; unset or 'all' means no limit, 0 hides every GPU

A list in CUDA_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES or ROCR_VISIBLE_DEVICES is cut to that many entries.
The limit is advice to GPU runtimes, not isolation.";

#[derive(Debug, Parser)]
#[command(name = "gpu-limit", about, version, after_help = EPILOGUE, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Where /proc, /sys and /dev are looked for
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    pub root: PathBuf,

    #[command(subcommand)]
    pub action: Option<Action>,
}

#[derive(Debug, Subcommand)]
pub enum Action {
    /// Become a command that sees no more than `GPU_COUNT` GPUs
    #[command(after_help = "Exit codes: those of the command; 126 it cannot be run, 127 it was not found.")]
    Exec {
        /// The command and its arguments
        #[arg(required = true, trailing_var_arg = true, value_name = "COMMAND")]
        command: Vec<OsString>,
    },
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::Cli;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }
}
