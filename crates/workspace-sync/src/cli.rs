//! Command line of `workspace-sync`.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{CommandFactory, Parser, Subcommand};
use kit::logging::Verbosity;

const EPILOGUE: &str = "\
Examples:
  workspace-sync status
  sudo workspace-sync run --dry-run
  sudo workspace-sync refresh micromamba

Trees are /opt/micromamba and the directories below /opt that OPT_SYNC
names, separated by colons. With WORKSPACE_SYNC=true and a mounted
workspace, late boot copies them in the background and switches to the
copy with one rename. Any of this can be interrupted and repeated.";

/// Copy environments and services to the workspace and use them from there
#[derive(Debug, Parser)]
#[command(name = "workspace-sync", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// The subcommand
    #[command(subcommand)]
    pub task: Task,
    /// Use all disk and CPU capacity instead of running at low priority
    #[arg(long, global = true)]
    pub full_speed: bool,
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// Directory of the trees, for tests
    #[arg(long, global = true, value_name = "DIRECTORY", hide = true, default_value = "/opt")]
    pub opt: PathBuf,
    /// State directory of this container, for tests
    #[arg(long, global = true, value_name = "DIRECTORY", hide = true, default_value = crate::sync_context::STATE_DIR)]
    pub state_dir: PathBuf,
    /// Marker that exists until provisioning has ended, for tests
    #[arg(long, global = true, value_name = "FILE", hide = true, default_value = "/run/container_config")]
    pub provisioning: PathBuf,
    /// Time a tree stays unchanged before the switch does not wait for provisioning, for tests
    #[arg(long, global = true, value_name = "MILLISECONDS", hide = true, default_value_t = 60_000)]
    pub quiet_after: u64,
    /// Pause after a failure, doubling up to 60 times as long, for tests
    #[arg(long, global = true, value_name = "MILLISECONDS", hide = true, default_value_t = 5_000)]
    pub retry_after: u64,
    /// The boot journal, for tests
    #[arg(long, global = true, value_name = "FILE", hide = true, default_value = journal::PATH)]
    pub journal: PathBuf,
}

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Copy and switch all trees as configured (started by late boot)
    Run {
        /// Print one JSON object per tree
        #[arg(long)]
        json: bool,
        #[command(flatten)]
        dry: DryRun,
        /// Compare file contents before the switch
        #[arg(long, value_name = "METHOD")]
        verify: Option<Verify>,
    },
    /// Record the files of the image (first step of late boot)
    Snapshot,
    /// Show which copy of each tree is in use, and its problems
    Status {
        /// Print one JSON object per tree
        #[arg(long)]
        json: bool,
    },
    /// Compare copies with the image; exits with 1 if files are missing or damaged
    Verify {
        /// Trees to compare [default: all]
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Compare file contents
        #[arg(long)]
        hash: bool,
        /// Print one JSON object per tree
        #[arg(long)]
        json: bool,
    },
    /// Replace a copy with the image's version, and keep your changes
    Refresh {
        /// The tree
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Exchange a copy with the one before the last refresh
    Rollback {
        /// The tree
        #[arg(value_name = "NAME")]
        name: String,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Copy remaining changes and retry failed copies (started by supervisord)
    Follow,
    /// Copy a directory tree, or update an existing copy
    Copy {
        /// Directory to copy
        #[arg(value_name = "SOURCE")]
        source: PathBuf,
        /// New directory, or an existing copy to update
        #[arg(value_name = "TARGET")]
        target: PathBuf,
        #[command(flatten)]
        options: CopyOptions,
    },
}

/// The flag of every subcommand that changes trees.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct DryRun {
    /// Print the changes without making them
    #[arg(long)]
    pub dry_run: bool,
}

/// The options of `copy`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct CopyOptions {
    /// Delete files from TARGET that SOURCE does not have
    #[arg(long)]
    pub prune: bool,
    /// Compare file contents
    #[arg(long, value_name = "METHOD")]
    pub verify: Option<Verify>,
    /// Print one JSON object
    #[arg(long)]
    pub json: bool,
    #[command(flatten)]
    pub dry: DryRun,
}

impl Task {
    /// True if it may change trees, which only one process of a container does at a time.
    pub fn is_exclusive(&self) -> bool {
        match self {
            Self::Run { dry, .. } | Self::Refresh { dry, .. } | Self::Rollback { dry, .. } => !dry.dry_run,
            _ => false,
        }
    }
}

impl Cli {
    /// Returns a `run` with these options as a child process that ends with this one.
    pub fn another_run(&self) -> Result<Command> {
        let mut command = kit::cmd::killed_with_parent(
            std::env::current_exe().context("cannot find the running executable")?,
        );
        command.args(["run", "--json"]);
        for (option, path) in [
            ("--opt", &self.opt),
            ("--state-dir", &self.state_dir),
            ("--provisioning", &self.provisioning),
            ("--journal", &self.journal),
        ] {
            command.arg(option).arg(path);
        }
        command.args(["--quiet-after", &self.quiet_after.to_string()]);
        Ok(command)
    }
}

/// Methods to compare files beyond size and time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Verify {
    // No doc comment: clap would print a longer help for --help than for -h.
    Hash,
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
