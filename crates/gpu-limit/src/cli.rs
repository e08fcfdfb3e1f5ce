//! Command line of `gpu-limit`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Parser, Subcommand};

const EPILOGUE: &str = "\
Examples:
  gpu-limit
  GPU_COUNT=1 gpu-limit exec -- python3 train.py

Environment:
  GPU_COUNT  number of GPUs that programs see; unset or 'all' means no
             limit, 0 hides every GPU

Existing lists in CUDA_VISIBLE_DEVICES, HIP_VISIBLE_DEVICES and
ROCR_VISIBLE_DEVICES are shortened to that many entries. The limit is a
hint to GPU runtimes, not isolation.";

#[derive(Debug, Parser)]
#[command(name = "gpu-limit", about, version, after_help = EPILOGUE, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,

    /// Directory with proc, sys and dev, for tests
    #[arg(long, value_name = "DIR", default_value = "/", hide = true, global = true)]
    pub root: PathBuf,

    #[command(subcommand)]
    pub task: Option<Task>,
}

#[derive(Debug, Subcommand)]
pub enum Task {
    /// Run a command that sees at most `GPU_COUNT` GPUs
    Exec {
        /// Command and its arguments
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
