//! Where everything is.

use std::path::PathBuf;

use kit::Env;
use workspace::Workspace;

/// Paths that the monitor works with.
#[derive(Debug, Clone)]
pub struct Places {
    /// The workspace.
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
    /// Which image this is: containers with different images share one storage.
    pub slug: String,
}

impl Places {
    /// From the environment that `init` settled; problems with it are logged.
    pub fn find(env: &Env, cli: &crate::cli::Cli) -> Self {
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

    /// Our links in directories of applications.
    pub fn ledger(&self) -> PathBuf {
        self.state.join("ledger")
    }

    /// Links in the storage to files of this image. It is on the volume because links outlive the container there; its
    /// name is hidden, so it is never linked itself.
    pub fn shipped_ledger(&self) -> PathBuf {
        self.storage.join(format!(".storage-monitor-{}", self.slug))
    }

    /// Identity of the storage that was used last.
    pub fn last_storage(&self) -> PathBuf {
        self.state.join("storage")
    }

    /// The mapping that was last found good.
    pub fn last_mapping(&self) -> PathBuf {
        self.state.join("mapping")
    }

    /// Held by whoever changes links.
    pub fn lock(&self) -> PathBuf {
        self.state.join("lock")
    }
}
