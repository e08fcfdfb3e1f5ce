//! `status`: the copy in use of every tree, and its problems.

use std::fmt;
use std::path::PathBuf;

use serde::Serialize;

use crate::active_link::{self, ActiveLink};
use crate::decision::{self, Action, NoActionReason, WorkspaceCopy};
use crate::generation::{self, Comparison};
use crate::holders::{self, Holder};
use crate::listing_file;
use crate::partial_claim::Claim;
use crate::report::ActiveCopy;
use crate::steps;
use crate::sync_context::SyncContext;
use crate::sync_state::SyncState;
use crate::tree_paths::TreePaths;
use crate::tree_state;
use kit::quote::escape_control_line;
use kit::units;

/// Status of one tree; fields of its JSON form are only added.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Its name below `/opt`.
    pub tree: String,
    /// The copy that programs use.
    pub in_use: ActiveCopy,
    /// Path of the tree for programs.
    #[serde(rename = "entrance")]
    pub active_link: PathBuf,
    /// Path of the workspace's copy.
    pub copy: PathBuf,
    /// `absent`, `copying`, `waiting`, `partial`, `whole` or `foreign`.
    pub state: &'static str,
    /// Generation of the image's copy, once this container has listed it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_generation: Option<String>,
    /// The generation of the workspace's copy.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub copy_generation: Option<String>,
    /// The generation that `rollback` would bring back.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub previous_generation: Option<String>,
    /// Entries of the copy when it was complete.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub entries: Option<u64>,
    /// Bytes of its files then.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<u64>,
    /// Time of its completion, in seconds since the Unix epoch.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub completed_at: Option<u64>,
    /// True if changes of the tree in use before are still being copied.
    pub settling: bool,
    /// Processes that use the image's copy while the workspace's is in use.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
    /// The steps that `run` would take now.
    pub next: Vec<String>,
    /// The obstacle.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub problem: Option<String>,
    /// A hint for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
}

/// Returns the status of `tree`; an error is its problem.
pub fn collect(setting: &SyncContext<'_>, tree: &TreePaths) -> Status {
    let state = SyncState::load(setting.state_dir, &tree.name);
    let mut status = Status {
        tree: tree.name.clone(),
        in_use: active_link::active_copy(tree),
        active_link: tree.active_link.clone(),
        copy: tree.copy.clone(),
        state: "absent",
        settling: state.leftover.is_some(),
        ..Status::default()
    };
    if let Err(error) = fill(setting, tree, &state, &mut status) {
        status.problem = Some(escape_control_line(&format!("{error:#}")));
        status.hint = kit::exit::hint(&error);
    }
    status
}

fn fill(
    setting: &SyncContext<'_>,
    tree: &TreePaths,
    state: &SyncState,
    status: &mut Status,
) -> anyhow::Result<()> {
    let seen = setting.tree_state(tree)?;
    let listing = listing_file::of_container(setting.state_dir, tree);
    status.image_generation = listing.as_ref().map(generation::id);
    let mut compared = Comparison::Impossible;
    match &seen.copy {
        WorkspaceCopy::Complete(marker) => {
            status.state = "whole";
            status.copy_generation = Some(marker.generation.clone());
            status.entries = Some(marker.entries);
            status.bytes = Some(marker.bytes);
            status.completed_at = Some(marker.completed_at);
            let copy = tree_state::open_in_workspace(&setting.workspace.path, &tree.copy)?;
            compared = generation::compare(listing.as_ref(), listing_file::of_copy(&copy)?.as_ref());
            if compared == Comparison::Same {
                status.image_generation = Some(marker.generation.clone());
            }
        }
        WorkspaceCopy::Foreign(_) => status.state = "foreign",
        WorkspaceCopy::Absent => status.state = partial(setting, tree)?,
    }
    if let WorkspaceCopy::Complete(previous) =
        tree_state::inspect_copy(tree, &setting.workspace.path, &tree.previous)?
    {
        status.previous_generation = Some(previous.generation);
    }
    if seen.active_link == ActiveLink::Workspace {
        status.holders = holders::find_holders(&tree.image);
        // Hidden processes matter only while changes are still being copied.
        status.holders.retain(|holder| status.settling || !holder.hidden);
    }
    let action = decision::decide(&seen);
    let steps = steps::of(&action, tree, state.leftover.is_some());
    status.next = steps.iter().map(|step| step.describe(tree)).collect();
    match &action {
        Action::Refuse(refusal) => {
            let (problem, hint) = decision::describe(refusal, tree);
            (status.problem, status.hint) = (Some(problem), Some(hint));
        }
        Action::Leave(NoActionReason::NotMounted) => {
            status.problem =
                Some("WORKSPACE_SYNC is on, and no volume is mounted at the workspace".to_owned());
        }
        _ => {}
    }
    if compared == Comparison::Another && status.problem.is_none() {
        status.problem = Some("the image has a different generation than the copy".to_owned());
        status.hint = Some(tree.refresh_hint());
    }
    Ok(())
}

/// Returns the state of a partial copy: being made, by any container, or unfinished.
fn partial(setting: &SyncContext<'_>, tree: &TreePaths) -> anyhow::Result<&'static str> {
    let Ok(directory) = tree_state::open_in_workspace(&setting.workspace.path, &tree.partial) else {
        return Ok("absent");
    };
    Ok(match Claim::read(&directory)? {
        Some(claim) if Claim::is_alive(&directory)? => {
            if claim.waiting {
                "waiting"
            } else {
                "copying"
            }
        }
        Some(_) => "partial",
        None => "foreign",
    })
}

impl fmt::Display for Status {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let in_use = match self.in_use {
            ActiveCopy::Image => "the image's copy",
            ActiveCopy::Workspace => "the workspace's copy",
            ActiveCopy::Directory => "a directory of the image",
            ActiveCopy::Other => "not managed by workspace-sync",
        };
        writeln!(formatter, "{}", self.tree)?;
        let mut row = |name: &str, text: &str| writeln!(formatter, "  {name:<12}{text}");
        row("in use", in_use)?;
        row("copy", &format!("{} ({})", self.copy.display(), self.state))?;
        if let (Some(entries), Some(bytes)) = (self.entries, self.bytes) {
            row(
                "size",
                &format!(
                    "{} entries, {} when complete",
                    units::format_count(entries),
                    units::format_bytes(bytes)
                ),
            )?;
        }
        for (name, generation) in [
            ("image", &self.image_generation),
            ("generation", &self.copy_generation),
            ("previous", &self.previous_generation),
        ] {
            if let Some(generation) = generation {
                row(name, generation)?;
            }
        }
        for holder in &self.holders {
            let what = if holder.hidden { "maybe used" } else { "still used" };
            row(what, &format!("by {}, in the image's copy", holder.description()))?;
        }
        for step in &self.next {
            row("next", step)?;
        }
        if let Some(problem) = &self.problem {
            row("problem", problem)?;
        }
        if let Some(hint) = &self.hint {
            row("hint", hint)?;
        }
        Ok(())
    }
}
