//! Command line of `storage-monitor`, and the paths that follow from it and the environment.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use kit::Env;
use kit::logging::Verbosity;
use workspace::Workspace;

const EPILOGUE: &str = "\
Examples:
  storage-monitor status
  storage-monitor explain models/checkpoints/x.safetensors
  storage-monitor once --dry-run

Files:
  /opt/leonardo/storage_monitor/etc/mappings.sh  mapping
  /run/leonardo/storage-monitor.json             state (status --json)
  /var/lib/leonardo/storage-monitor/ledger       links made by the monitor

Environment:
  WORKSPACE  the storage is $WORKSPACE/storage";

/// Link files of $WORKSPACE/storage into the directories of applications
#[derive(Debug, Parser)]
#[command(name = "storage-monitor", version, long_about = None, after_help = EPILOGUE)]
pub struct Cli {
    /// Task; `run` without one
    #[command(subcommand)]
    pub task: Option<Task>,
    #[command(flatten)]
    pub verbosity: Verbosity,
    /// Mapping, for tests
    #[arg(
        long,
        value_name = "FILE",
        hide = true,
        global = true,
        default_value = "/opt/leonardo/storage_monitor/etc/mappings.sh"
    )]
    pub mappings: PathBuf,
    /// Files of the image, for tests
    #[arg(long, value_name = "DIR", hide = true, global = true, default_value = "/opt/storage")]
    pub image: PathBuf,
    /// Directory of the ledger, for tests
    #[arg(
        long,
        value_name = "DIR",
        hide = true,
        global = true,
        default_value = "/var/lib/leonardo/storage-monitor"
    )]
    pub state: PathBuf,
    /// Status file, for tests
    #[arg(long, value_name = "FILE", hide = true, global = true, default_value = crate::status::PATH)]
    pub status: PathBuf,
}

/// Tasks.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Keep links up to date (started by supervisord; the default)
    Run,
    /// Show what is linked and which conflicts exist; exits with 1 if the monitor is not running
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Update all links once, then exit
    Once {
        /// Print the changes without making them
        #[arg(long)]
        dry_run: bool,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Print the changes that are needed now; same as `once --dry-run`
    Plan {
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
    /// Show where a file is linked, or why it is not; exits with 1 if it is not linked
    Explain {
        /// File of the storage: a path relative to the current directory or to the storage
        #[arg(value_name = "FILE")]
        path: PathBuf,
        /// Print one JSON object per line
        #[arg(long)]
        json: bool,
    },
}

/// Returns the command line, for the generator of the manual pages.
#[must_use]
pub fn command() -> clap::Command {
    Cli::command()
}

/// Paths that the monitor works with.
#[derive(Debug, Clone)]
pub struct Paths {
    pub workspace: PathBuf,
    /// The storage, as links name it.
    pub storage: PathBuf,
    /// Files that the image ships.
    pub image: PathBuf,
    /// The mappings file.
    pub mappings: PathBuf,
    /// The directory of the ledger, the lock and the last good mapping.
    pub state: PathBuf,
    /// The status file.
    pub status: PathBuf,
    /// Name of the image: containers with different images share one storage.
    pub slug: String,
}

impl Paths {
    /// Reads the environment that `init` has set up, and logs problems with it.
    pub fn find(env: &Env, cli: &Cli) -> Self {
        let (workspace, problems) = Workspace::from_env(env);
        problems.iter().for_each(|problem| log::warn!("{problem}"));
        Self {
            storage: workspace.storage(),
            workspace: workspace.path,
            image: cli.image.clone(),
            mappings: cli.mappings.clone(),
            state: cli.state.clone(),
            status: cli.status.clone(),
            slug: workspace.slug,
        }
    }

    /// Ledger of our links in directories of applications.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger")
    }

    /// Ledger of links in the storage to files of this image. It is on the volume because links outlive the container there;
    /// its name is hidden, so it is never linked itself.
    pub fn shipped_ledger(&self) -> PathBuf {
        self.storage.join(format!(".storage-monitor-{}", self.slug))
    }

    /// Identity of the storage that was used last.
    pub fn last_storage(&self) -> PathBuf {
        self.state.join("storage")
    }

    /// The last good mapping.
    pub fn last_mapping(&self) -> PathBuf {
        self.state.join("mapping")
    }

    /// Lock of the process that changes links.
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn the_command_line_is_consistent() {
        super::command().debug_assert();
    }
}
