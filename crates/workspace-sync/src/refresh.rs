//! `refresh` replaces a copy by the image's generation; `rollback` restores the previous one.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kit::{Exit, HintExt, Outcome};
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::active_link::{self, ActiveLink};
use crate::copy_job::{self, ReadyCopy};
use crate::copy_marker::{self, Marker};
use crate::decision::WorkspaceCopy;
use crate::generation::{self, Comparison};
use crate::holders;
use crate::image_listing::{ImageBase, Listing};
use crate::listing_file;
use crate::mount_check;
use crate::partial_claim;
use crate::reserved_names;
use crate::sync_context::SyncContext;
use crate::sync_state::SyncState;
use crate::tree_paths::TreePaths;
use crate::tree_state;
use crate::user_additions::UserAdditions;
use crate::volume_clock::Timestamp;
use kit::quote::escape_control_line;
use kit::units;

/// Maximum number of the user's renamed entries in the log.
const MAX_LISTED: usize = 20;
/// Command that finds the others.
const MORE: &str = "find -name '*.before-refresh'";

/// Replaces the copy by the image's current generation. The user's additions and changes are copied, beside the image's
/// entry if both have the name; the old copy stays as `NAME.previous`.
pub fn run(setting: &SyncContext<'_>, tree: &TreePaths, dry_run: bool) -> Outcome {
    refuse_while_locked(setting)?;
    refuse_mounts(tree)?;
    if !dry_run {
        recover(setting, tree)?;
    }
    let marker = complete_copy(setting, tree, &tree.copy)?;
    if !tree.image.is_dir() {
        return Err(anyhow!("the image has no copy of {} at {}", tree.name, tree.image.display()))
            .hint(|| tree.refresh_hint());
    }
    let listing = setting.listing(tree)?.unwrap_or_default();
    let generation = generation::id(&listing);
    let steps = [
        format!("copy {} to {}", tree.image.display(), tree.partial.display()),
        format!("copy your additions and changes from {}", tree.copy.display()),
        format!("rename {} to {}", tree.copy.display(), tree.previous.display()),
        format!("rename {} to {}", tree.partial.display(), tree.copy.display()),
    ];
    if !dry_run && let Some(parent) = replaced(setting, tree)? {
        // An earlier refresh was killed after the exchange.
        retire(setting, tree, &parent, &tree.partial)?;
    }
    let base = listing_file::of_copy(tree_state::open_in_workspace(&setting.workspace.path, &tree.copy)?)?;
    if generation::compare(Some(&listing), base.as_ref()) == Comparison::Same {
        let generation = &marker.generation;
        writeln!(io::stdout(), "{}: already at the image's generation ({generation})", tree.name)?;
        return Ok(Exit::Done);
    }
    if dry_run {
        for step in steps {
            writeln!(io::stdout(), "{}: {step}", tree.name)?;
        }
        return Ok(Exit::Done);
    }
    is_obsolete(setting, tree)?;
    let claim = setting.claim_on(tree);
    let prepared = setting.job(tree, &tree.image, &listing, &claim).prepare()?;
    let copied = copy_additions(setting, tree, &prepared, &marker, base)?;
    tree_copy::sync_to_disk(&copy_job::path_of(&prepared.directory))
        .with_context(|| format!("cannot force {} to the disk", tree.partial.display()))?;
    // With a claim, the copy would count as incomplete under its new name.
    partial_claim::release(&tree_state::open_in_workspace(&setting.workspace.path, &tree.copy)?)?;
    prepared.check()?;
    swap(tree, &prepared.parent, &tree.partial, &tree.copy)?;
    partial_claim::release(&prepared.directory)?;
    retire(setting, tree, &prepared.parent, &tree.partial)?;
    drop(prepared);
    if ActiveLink::of(tree)? != ActiveLink::Workspace {
        active_link::switch_to(tree, &tree.copy)?;
    }
    forget_leftover(setting, tree)?;
    writeln!(
        io::stdout(),
        "{}: {} has generation {generation} now, with {} that you had added or changed; the one before is {}",
        tree.name,
        tree.copy.display(),
        entries(copied),
        tree.previous.display()
    )?;
    warn_users(tree);
    Ok(Exit::Done)
}

/// Exchanges the copy and the previous one.
pub fn rollback(setting: &SyncContext<'_>, tree: &TreePaths, dry_run: bool) -> Outcome {
    refuse_while_locked(setting)?;
    refuse_mounts(tree)?;
    if !dry_run {
        recover(setting, tree)?;
    }
    let now = complete_copy(setting, tree, &tree.copy)?;
    let previous = complete_copy(setting, tree, &tree.previous)?;
    if dry_run {
        writeln!(
            io::stdout(),
            "{}: exchange {} and {}",
            tree.name,
            tree.copy.display(),
            tree.previous.display()
        )?;
        return Ok(Exit::Done);
    }
    let parent = copy_job::open_parent(tree, &setting.workspace.path)?;
    swap(tree, &parent, &tree.previous, &tree.copy)?;
    forget_leftover(setting, tree)?;
    writeln!(
        io::stdout(),
        "{}: {} has generation {} again; generation {} is {}",
        tree.name,
        tree.copy.display(),
        previous.generation,
        now.generation,
        tree.previous.display()
    )?;
    warn_users(tree);
    Ok(Exit::Done)
}

fn refuse_while_locked(setting: &SyncContext<'_>) -> Result<()> {
    let lock = setting.workspace.update_lock();
    if !setting.workspace.is_update_locked()? {
        return Ok(());
    }
    Err(anyhow!("{} exists; nothing was changed", lock.display()))
        .hint(|| format!("remove it to allow updates: rm {}", lock.display()))
}

/// Refuses trees with mounts, which would be moved, copied or removed.
fn refuse_mounts(tree: &TreePaths) -> Result<()> {
    Ok(mount_check::refuse(tree, &[&tree.image, &tree.copy, &aside(tree), &tree.previous])?)
}

fn complete_copy(setting: &SyncContext<'_>, tree: &TreePaths, path: &Path) -> Result<Marker> {
    match tree_state::inspect_copy(tree, &setting.workspace.path, path)? {
        WorkspaceCopy::Complete(marker) => Ok(marker),
        WorkspaceCopy::Absent => bail!("there is no copy of {} at {}", tree.name, path.display()),
        WorkspaceCopy::Foreign(what) => bail!("{} cannot be used: {what}", path.display()),
    }
}

/// Copies the user's work into the new generation; returns the number of entries, where a new directory and its content
/// count as one.
fn copy_additions(
    setting: &SyncContext<'_>,
    tree: &TreePaths,
    prepared: &ReadyCopy,
    marker: &Marker,
    listing: Option<Listing>,
) -> Result<u64> {
    if listing.is_none() {
        log::warn!(
            "{}: the list of what the image brought is missing or damaged: what you made before {} was complete may be \
             in {} alone",
            tree.name,
            tree.copy.display(),
            tree.previous.display()
        );
    }
    let completed_at = i64::try_from(marker.completed_at).unwrap_or(i64::MAX);
    let additions = UserAdditions {
        old: setting.open_copy(tree)?,
        shown: &tree.copy,
        base: ImageBase { listing, unlisted_since: Timestamp(completed_at.saturating_add(1), 0) },
        prepared,
        capabilities: setting.capabilities(tree)?,
        copied: Cell::new(0),
        beside: RefCell::default(),
    };
    additions.copy()?;
    let beside = additions.beside.into_inner();
    for name in beside.iter().take(MAX_LISTED) {
        let shown = escape_control_line(&tree.copy.join(name).display().to_string());
        log::warn!("{}: kept your version as {shown}; the image's version replaces it", tree.name);
    }
    if beside.len() > MAX_LISTED {
        log::warn!(
            "{}: and {} more, see {MORE}",
            tree.name,
            units::format_count((beside.len() - MAX_LISTED) as u64)
        );
    }
    Ok(additions.copied.get())
}

/// Exchanges two directories in `parent`. If that needs several renames, programs use the image's copy meanwhile, so
/// that the active link is never broken.
fn swap(tree: &TreePaths, parent: &OwnedFd, one: &Path, other: &Path) -> Result<()> {
    let cannot = || format!("cannot exchange {} and {}", one.display(), other.display());
    let (first, second) = (one.file_name().unwrap_or_default(), other.file_name().unwrap_or_default());
    match renameat2(parent, first, parent, second, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => return Ok(()),
        Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    let aside = aside(tree);
    let leads_there = ActiveLink::of(tree)? == ActiveLink::Workspace;
    if leads_there && tree.image.is_dir() {
        active_link::switch_to(tree, &tree.image)?;
    }
    copy_job::rename_into_place(parent, other, &aside)?;
    copy_job::rename_into_place(parent, one, other)?;
    copy_job::rename_into_place(parent, &aside, one)?;
    if leads_there {
        active_link::switch_to(tree, &tree.copy)?;
    }
    Ok(())
}

/// Path of the copy during an exchange by renames.
fn aside(tree: &TreePaths) -> PathBuf {
    let mut name = tree.copy.file_name().unwrap_or_default().to_owned();
    name.push(".exchange");
    tree.copy.with_file_name(name)
}

/// Finishes or undoes an exchange by renames that was interrupted.
pub fn recover(setting: &SyncContext<'_>, tree: &TreePaths) -> Result<()> {
    let aside = aside(tree);
    let root = &setting.workspace.path;
    if !matches!(tree_state::inspect_copy(tree, root, &aside)?, WorkspaceCopy::Complete(_)) {
        return Ok(());
    }
    let parent = copy_job::open_parent(tree, root)?;
    match tree_state::inspect_copy(tree, root, &tree.copy)? {
        WorkspaceCopy::Absent => copy_job::rename_into_place(&parent, &aside, &tree.copy),
        WorkspaceCopy::Complete(_) => retire(setting, tree, &parent, &aside),
        WorkspaceCopy::Foreign(_) => Ok(()),
    }
}

/// Returns the parent directory if the partial name is a copy that an interrupted refresh replaced.
fn replaced(setting: &SyncContext<'_>, tree: &TreePaths) -> Result<Option<OwnedFd>> {
    let root = &setting.workspace.path;
    if !matches!(tree_state::inspect_copy(tree, root, &tree.partial)?, WorkspaceCopy::Complete(_)) {
        return Ok(None);
    }
    let partial = tree_state::open_in_workspace(root, &tree.partial)?;
    if copy_marker::read_small(&partial, reserved_names::CLAIM)?.is_some() {
        return Ok(None);
    }
    copy_job::open_parent(tree, root).map(Some)
}

/// Renames the directory at `from` to the previous copy; removes an older one.
fn retire(setting: &SyncContext<'_>, tree: &TreePaths, parent: &OwnedFd, from: &Path) -> Result<()> {
    if is_obsolete(setting, tree)? {
        discard(setting, tree, parent)
            .with_context(|| format!("cannot remove {}", tree.previous.display()))?;
    }
    copy_job::rename_into_place(parent, from, &tree.previous)
}

/// True if there is an older previous copy, or the rest of one; fails for anything else of that name.
fn is_obsolete(setting: &SyncContext<'_>, tree: &TreePaths) -> Result<bool> {
    let root = &setting.workspace.path;
    let what = match tree_state::inspect_copy(tree, root, &tree.previous)? {
        WorkspaceCopy::Absent => return Ok(false),
        WorkspaceCopy::Complete(_) => return Ok(true),
        WorkspaceCopy::Foreign(what) => what,
    };
    if let Ok(directory) = tree_state::open_in_workspace(root, &tree.previous) {
        let rest = copy_marker::read_small(&directory, reserved_names::CLAIM)?;
        let rest = rest.and_then(|text| serde_json::from_slice::<Marker>(&text).ok());
        if rest.is_some_and(|marker| marker.tree == tree.name) || partial_claim::is_empty(&directory)? {
            return Ok(true);
        }
    }
    Err(anyhow!("{} is taken: {what}", tree.previous.display()))
        .hint(|| "move it away; it is never overwritten".to_owned())
}

/// Removes the previous copy. Its marker is renamed first and removed last, so that an interrupted removal leaves
/// neither a complete copy nor a directory of the user.
fn discard(setting: &SyncContext<'_>, tree: &TreePaths, parent: &OwnedFd) -> Result<()> {
    mount_check::refuse(tree, &[&tree.previous])?;
    let directory = tree_state::open_in_workspace(&setting.workspace.path, &tree.previous)?;
    match renameat(&directory, reserved_names::MARKER, &directory, reserved_names::CLAIM) {
        Ok(()) => copy_job::sync(&directory)?,
        Err(nix::Error::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    for base in dirfd::names(&directory).map_err(std::io::Error::from)? {
        if base != reserved_names::CLAIM {
            dirfd::remove_all(&directory, base.as_os_str())
                .map_err(std::io::Error::from)
                .with_context(|| format!("cannot remove {}", tree.previous.join(&base).display()))?;
        }
    }
    partial_claim::release(&directory)?;
    let name = tree.previous.file_name().unwrap_or_default();
    Ok(unlinkat(parent, name, UnlinkatFlags::RemoveDir)?)
}

/// Drops pending changes: the image's tree and the copy have different generations now.
fn forget_leftover(setting: &SyncContext<'_>, tree: &TreePaths) -> Result<()> {
    let mut state = SyncState::load(setting.state_dir, &tree.name);
    state.leftover = None;
    state.store(setting.state_dir, &tree.name)
}

fn warn_users(tree: &TreePaths) {
    for holder in holders::find_holders(&tree.previous).iter().filter(|holder| !holder.hidden) {
        log::warn!("{} still uses {}: restart it", holder.description(), tree.previous.display());
    }
}

fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{} entries", units::format_count(number)) }
}
