//! Command line of `fix-perms`.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, ValueEnum};
use kit::logging::Verbosity;

const EPILOGUE: &str = "\
Examples:
  sudo fix-perms
  fix-perms --dry-run --only workspace
  RUN pip install … && fix-perms --only container

In a Dockerfile, run it in the step that adds the files: in a later step,
every corrected file is stored twice in the image.

Environment (set by init):
  WORKSPACE          path of the workspace
  WORKSPACE_UID      user who gets access to its files
  WORKSPACE_MOUNTED  true on a volume; otherwise nothing is changed";

/// Correct owners, modes and ACLs of /opt and the workspace
#[derive(Debug, Parser)]
#[command(name = "fix-perms", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Correct only /opt (container) or only the workspace
    #[arg(long, value_enum, value_name = "PART")]
    pub only: Option<Part>,
    /// Print the changes without making them
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object; with --dry-run, one for each change before it
    #[arg(long)]
    pub json: bool,
    /// Tree to share with the group, for tests
    #[arg(long, value_name = "DIR", hide = true, default_value = "/opt")]
    pub opt: PathBuf,
    /// Name of the group, for tests
    #[arg(long, value_name = "NAME", hide = true, default_value = "leonardo")]
    pub group: String,
    #[command(flatten)]
    pub verbosity: Verbosity,
}

/// The parts of a container that can be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    // No doc comments: clap would print a longer help for --help than for -h.
    Container,
    Workspace,
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
