//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, ValueEnum};

const NOTES: &str = "\
Environment:
  WORKSPACE          where the workspace is
  WORKSPACE_UID      the user to whom files in it shall be accessible
  WORKSPACE_MOUNTED  whether it is a mounted volume: in a directory of the container nothing is changed

init sets these for every program. In a Dockerfile: RUN fix-perms --only container, in the same step as what it corrects,
because a later step would store every corrected file a second time.

Exit codes: 0 all is right that can be right; 1 something failed, such as for lack of space; 2 usage.";

/// Make owners, modes and ACLs of /opt and the workspace right, touching only what is wrong.
#[derive(Debug, Parser)]
#[command(name = "fix-perms", version, long_about = None, after_help = NOTES)]
pub struct Cli {
    /// Look at one of the two only
    #[arg(long, value_enum, value_name = "PART")]
    pub only: Option<Part>,
    /// Print each change, one a line, and make none
    #[arg(long)]
    pub dry_run: bool,
    /// Print one JSON object; with --dry-run, one more for each change before it
    #[arg(long)]
    pub json: bool,
    /// What is shared with the group, for tests
    #[arg(long, value_name = "DIR", hide = true, default_value = "/opt")]
    pub opt: PathBuf,
    /// The group, for tests
    #[arg(long, value_name = "NAME", hide = true, default_value = "leonardo")]
    pub group: String,
}

/// The parts of a container that can be corrected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Part {
    /// What is below /opt: shared with the group leonardo
    Container,
    /// What is in $WORKSPACE: open to the volume's owner
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
