//! The command line.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result};
use clap::{ArgAction, CommandFactory, Parser, Subcommand};

const NOTES: &str = "\
Trees are /opt/micromamba and what OPT_SYNC names, a colon-separated list of directories below /opt. With
WORKSPACE_SYNC=true and a mounted workspace, late boot copies them there while programs run from the image, compares,
and switches with one rename. Any of this may be killed and started again.";

/// Move environments and services to the workspace, without waiting and without loss.
#[derive(Debug, Parser)]
#[command(name = "workspace-sync", version, long_about = None, after_help = NOTES)]
pub struct Cli {
    /// What to do
    #[command(subcommand)]
    pub action: Action,
    /// Print the steps and change nothing
    #[arg(long, global = true)]
    pub dry_run: bool,
    /// Take all of the disk and the processors
    #[arg(long, global = true)]
    pub full_speed: bool,
    /// No progress, warnings only
    #[arg(short, long, global = true, conflicts_with = "verbose")]
    pub quiet: bool,
    /// More details
    #[arg(short, long, global = true, action = ArgAction::Count)]
    pub verbose: u8,
    /// Where programs look for the trees, for tests
    #[arg(long, global = true, value_name = "DIRECTORY", hide = true, default_value = "/opt")]
    pub opt: PathBuf,
    /// What this container remembers, for tests
    #[arg(long, global = true, value_name = "DIRECTORY", hide = true, default_value = crate::sync_context::STATE_DIR)]
    pub memory: PathBuf,
    /// The marker that exists until provisioning has ended, for tests
    #[arg(long, global = true, value_name = "FILE", hide = true, default_value = "/run/container_config")]
    pub provisioning: PathBuf,
    /// How long a tree stays unchanged before the switch does not wait for provisioning, for tests
    #[arg(long, global = true, value_name = "MILLISECONDS", hide = true, default_value_t = 60_000)]
    pub quiet_after: u64,
    /// How long after a failure the next attempt comes, doubling up to 60 times as long, for tests
    #[arg(long, global = true, value_name = "MILLISECONDS", hide = true, default_value_t = 5_000)]
    pub retry_after: u64,
    /// The boot journal, for tests
    #[arg(long, global = true, value_name = "FILE", hide = true, default_value = journal::PATH)]
    pub journal: PathBuf,
}

/// What to do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Bring every tree into the state that the settings ask for: what late boot does
    Run {
        /// Print one JSON object for each tree
        #[arg(long)]
        json: bool,
        /// Compare every byte before the switch, not only names, kinds, sizes and times
        #[arg(long)]
        verify: Option<Verify>,
    },
    /// List what the image brings, before programs change it: what late boot does first
    Snapshot,
    /// Show where every tree is, which generation, and what is in the way
    Status {
        /// Print one JSON object for each tree
        #[arg(long)]
        json: bool,
    },
    /// Compare workspace copies with the image; exit 1 if something of the image's is missing or damaged
    Verify {
        /// The trees; all of them if none is named
        #[arg(value_name = "NAME")]
        names: Vec<String>,
        /// Compare every byte
        #[arg(long)]
        hash: bool,
        /// Print one JSON object for each tree
        #[arg(long)]
        json: bool,
    },
    /// Replace a workspace copy by the image's present generation; the replaced one is kept for rollback
    Refresh {
        /// The tree
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Put the copy that a refresh replaced back in its place, and the other way round
    Rollback {
        /// The tree
        #[arg(value_name = "NAME")]
        name: String,
    },
    /// Carry over what programs still write to the tree they came from, until none is left, and retry what failed
    Follow,
    /// Copy any directory with everything that belongs to it, as the trees are copied
    Copy {
        /// The directory to copy
        #[arg(value_name = "SOURCE")]
        source: PathBuf,
        /// The copy: new, or an earlier copy, which is brought into the state of the source
        #[arg(value_name = "TARGET")]
        target: PathBuf,
        /// Remove from TARGET what SOURCE does not have
        #[arg(long)]
        prune: bool,
        /// Compare every byte of what looks equal
        #[arg(long)]
        verify: Option<Verify>,
    },
}

impl Cli {
    /// Returns a `run` with these options, as another process, which ends with this one.
    pub fn another_run(&self) -> Result<Command> {
        let mut command = kit::cmd::killed_with_parent(
            std::env::current_exe().context("cannot find workspace-sync itself")?,
        );
        command.args(["run", "--json"]);
        for (option, path) in [
            ("--opt", &self.opt),
            ("--memory", &self.memory),
            ("--provisioning", &self.provisioning),
            ("--journal", &self.journal),
        ] {
            command.arg(option).arg(path);
        }
        command.args(["--quiet-after", &self.quiet_after.to_string()]);
        Ok(command)
    }
}

/// How closely to compare.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Verify {
    /// Every byte of every file
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
