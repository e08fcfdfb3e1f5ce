//! The command line, and the paths that follow from it and the environment.

use std::path::PathBuf;

use clap::{CommandFactory, Parser, Subcommand};
use kit::Env;
use workspace::Workspace;

const NOTES: &str = "\
Files:
  /opt/leonardo/storage_monitor/etc/mappings.sh  which directory of the storage leads where
  /run/leonardo/storage-monitor.json             the state, as status --json prints it
  /var/lib/leonardo/storage-monitor/ledger       the links that the monitor has made

Environment:
  WORKSPACE  the storage is $WORKSPACE/storage

Exit codes: 0 done; 1 something failed, or the answer is no; 2 usage.";

/// Link the files of $WORKSPACE/storage into the directories where applications look for them.
#[derive(Debug, Parser)]
#[command(name = "storage-monitor", version, long_about = None, after_help = NOTES)]
pub struct Cli {
    /// What to do; without it, run
    #[command(subcommand)]
    pub task: Option<Task>,
    /// The mappings, for tests
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
    /// What is kept, for tests
    #[arg(
        long,
        value_name = "DIR",
        hide = true,
        global = true,
        default_value = "/var/lib/leonardo/storage-monitor"
    )]
    pub state: PathBuf,
    /// The status file, for tests
    #[arg(long, value_name = "FILE", hide = true, global = true, default_value = crate::status::PATH)]
    pub status: PathBuf,
}

/// The tasks.
#[derive(Debug, Subcommand)]
pub enum Task {
    /// Keep the links right, for as long as the program runs
    Run,
    /// Say what is linked and what cannot be; exit code 1 if the monitor is not running
    Status {
        /// Print one JSON object
        #[arg(long)]
        json: bool,
    },
    /// Make all links right once; if the monitor is running, ask it to, and wait until it has
    Once {
        /// Print the steps and make none
        #[arg(long)]
        dry_run: bool,
    },
    /// Print the steps that are left to do, one a line, and make none
    Plan,
    /// Say where a file of the storage is linked, and why not; exit code 1 if it is linked nowhere
    Explain {
        /// A file or directory of the storage
        path: PathBuf,
    },
}

/// The command line as data, for the generator of the manual pages.
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
