//! The context of every command: the settings, the workspace, this container's claim and state, and the trees.

use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};
use journal::Journal;
use kit::lock::Lock;
use tree_copy::Capabilities;

use crate::copy_job::{self, CopyJob};
use crate::decision::{self, TreeState};
use crate::image_listing::Listing;
use crate::journal_notes;
use crate::listing_file;
use crate::partial_claim::Claim;
use crate::steps::{self, Step};
use crate::sync_state::SyncState;
use crate::tree_paths::TreePaths;
use crate::tree_state;
use crate::volume_clock::Timestamp;

/// State directory of this container.
pub const STATE_DIR: &str = "/var/lib/leonardo/sync";

/// Settings and state that all trees of a command share.
#[derive(Debug)]
pub struct SyncContext<'a> {
    /// The workspace.
    pub workspace: &'a workspace::Workspace,
    /// `WORKSPACE_SYNC`.
    pub wanted: bool,
    /// State directory of the container.
    pub state_dir: &'a Path,
    /// The boot journal.
    pub journal: &'a Journal,
    /// This container's claim on partial copies.
    pub claim: Claim,
    /// True to compare every byte of a copy at its end.
    pub compare_content: bool,
    /// Time at which the container began to change the image's trees.
    pub first_start: Option<Timestamp>,
}

impl SyncContext<'_> {
    /// Returns the state of `tree`.
    pub fn tree_state(&self, tree: &TreePaths) -> Result<TreeState> {
        tree_state::inspect(tree, &self.workspace.path, self.workspace.mounted, self.wanted)
    }

    /// Returns the steps that a run would perform.
    pub fn steps(&self, tree: &TreePaths) -> Result<Vec<Step>> {
        let action = decision::decide(&self.tree_state(tree)?);
        Ok(steps::of(&action, tree, SyncState::load(self.state_dir, &tree.name).leftover.is_some()))
    }

    /// Returns the claim on the partial copy of `tree`.
    pub fn claim_on(&self, tree: &TreePaths) -> Claim {
        Claim { tree: tree.name.clone(), ..self.claim.clone() }
    }

    /// Returns the listing of the image's tree, which a container makes only once, because programs change the tree.
    pub fn listing(&self, tree: &TreePaths) -> Result<Option<Listing>> {
        listing_file::ensure(self.state_dir, tree, self.first_start)
    }

    /// Returns the copy of `source` to the workspace.
    pub fn job<'a>(
        &'a self,
        tree: &'a TreePaths,
        source: &'a Path,
        listing: &'a Listing,
        claim: &'a Claim,
    ) -> CopyJob<'a> {
        CopyJob {
            tree,
            source,
            listing,
            workspace: &self.workspace.path,
            claim,
            state_dir: self.state_dir,
            journal: self.journal,
            compare_content: self.compare_content,
        }
    }

    /// Opens the workspace's copy.
    pub fn open_copy(&self, tree: &TreePaths) -> Result<OwnedFd> {
        tree_state::open_in_workspace(&self.workspace.path, &tree.copy)
            .with_context(|| format!("cannot open {}", tree.copy.display()))
    }

    /// Returns the capabilities of the volume.
    pub fn capabilities(&self, tree: &TreePaths) -> Result<Capabilities> {
        let parent = copy_job::open_parent(tree, &self.workspace.path)?;
        Ok(tree_copy::probe(&copy_job::path_of(&parent))?)
    }

    /// Writes a note to the log and to the journal.
    pub fn note(&self, tree: &TreePaths, message: &str) {
        journal_notes::add(self.journal, &tree.name, message);
    }
}

/// Opens the lock for work that only one process of a container may do at a time.
pub fn lock(state_dir: &Path) -> Result<Lock> {
    Lock::open(&state_dir.join("lock"))
}

/// Returns the tree of this name.
pub fn find_tree<'a>(trees: &'a [TreePaths], name: &str) -> anyhow::Result<&'a TreePaths> {
    trees.iter().find(|tree| tree.name == name).ok_or_else(|| {
        let known: Vec<&str> = trees.iter().map(|tree| tree.name.as_str()).collect();
        kit::UsageError(format!("unknown tree {name:?}; available: {}", known.join(", "))).into()
    })
}

/// Returns the trees of these names, or all of them where none is given.
pub fn select_trees<'a>(trees: &'a [TreePaths], names: &[String]) -> anyhow::Result<Vec<&'a TreePaths>> {
    if names.is_empty() {
        return Ok(trees.iter().collect());
    }
    names.iter().map(|name| find_tree(trees, name)).collect()
}
