//! The command line.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, ValueEnum};

const EPILOGUE: &str = "\
Examples:
  sudo fix-perms
  fix-perms --dry-run --only workspace
  RUN pip install … && fix-perms --only container

In a Dockerfile, run it in the step that adds the files: a later step
stores every corrected file a second time.

Environment (set by init):
  WORKSPACE          path of the workspace
  WORKSPACE_UID      user who gets access to its files
  WORKSPACE_MOUNTED  true on a volume; otherwise nothing is changed

Exit codes: 0 success; 1 something could not be corrected; 2 usage.";

/// Make owners, modes and ACLs of /opt and the workspace right, touching only what is wrong.
#[derive(Debug, Parser)]
#[command(name = "fix-perms", version, long_about = None, after_help = EPILOGUE)]
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
