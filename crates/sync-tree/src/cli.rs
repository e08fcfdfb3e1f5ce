//! Command line of `sync-tree`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};

const EPILOGUE: &str = "\
Examples:
  RUN sync-tree add ComfyUI && git clone … /opt/ComfyUI
  ENV OPT_SYNC=ComfyUI

It belongs into a Dockerfile, in the step that fills the directory. A
directory of an earlier step cannot be moved: its layer does not change.";

/// Lay out a directory below /opt so that users can keep it on their volume
#[derive(Debug, Parser)]
#[command(name = "sync-tree", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Directory of the trees, for tests
    #[arg(long, hide = true, value_name = "DIRECTORY", default_value = "/opt", global = true)]
    pub opt: PathBuf,
    /// Group of the trees, for tests
    #[arg(long, hide = true, value_name = "NAME", default_value = "leonardo", global = true)]
    pub group: String,
    #[command(subcommand)]
    pub task: Task,
}

/// The changes to the layout.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Make /opt/NAME a link to /opt/.image/NAME; move a directory there
    Add {
        /// Name of the directory below /opt
        name: String,
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
