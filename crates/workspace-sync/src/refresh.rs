//! `refresh` and `rollback`: another generation of a copy, and the way back.

use std::cell::{Cell, RefCell};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow, bail};
use kit::{Exit, HintExt, Outcome};
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::additions::Additions;
use crate::claim;
use crate::clock::Instant;
use crate::copy::{self, Job, Prepared};
use crate::decide::Copy;
use crate::entrance::{self, Entrance};
use crate::generation::{self, Comparison};
use crate::holders;
use crate::image_listing::{ImageBase, Listing};
use crate::listing_file;
use crate::look;
use crate::marker::{self, Marker};
use crate::memory::Memory;
use crate::mounted;
use crate::reserved_names;
use crate::sync_context::Setting;
use crate::tree::Tree;
use crate::walk;
use kit::quote::escape_control_line;
use kit::units;

/// Number of the user's entries beside the image's that are listed.
const SHOWN: usize = 20;
/// Command that finds the others.
const MORE: &str = "find -name '*.before-refresh'";

/// Replaces the copy by the image's present generation. What the user added to the old copy or changed in it comes
/// along, beside the image's entry where both have the name; all of the old copy stays as `NAME.previous`.
pub fn run(setting: &Setting<'_>, tree: &Tree, dry_run: bool) -> Outcome {
    refuse_while_locked(setting)?;
    refuse_mounts(tree)?;
    if !dry_run {
        recover(setting, tree)?;
    }
    let marker = whole(setting, tree, &tree.copy)?;
    if !tree.image.is_dir() {
        return Err(anyhow!("the image has no copy of {} at {}", tree.name, tree.image.display()))
            .hint(|| tree.renewal());
    }
    let listing = setting.listing(tree)?.unwrap_or_default();
    let generation = generation::name(&listing);
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
    let base = listing_file::of_copy(look::open(&setting.workspace.path, &tree.copy)?)?;
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
    let job = Job {
        tree,
        source: &tree.image,
        listing: &listing,
        workspace: &setting.workspace.path,
        claim: &claim,
        memory: setting.memory,
        journal: setting.journal,
        manner: setting.manner,
    };
    let prepared = job.prepare()?;
    let brought = bring_along(setting, tree, &prepared, &marker, base)?;
    tree_copy::make_durable(&copy::path_of(&prepared.directory))
        .with_context(|| format!("cannot force {} to the disk", tree.partial.display()))?;
    // Behind its new name, a claim would mean that it is still being made.
    claim::release(&look::open(&setting.workspace.path, &tree.copy)?)?;
    prepared.check()?;
    swap(tree, &prepared.parent, &tree.partial, &tree.copy)?;
    claim::release(&prepared.directory)?;
    retire(setting, tree, &prepared.parent, &tree.partial)?;
    drop(prepared);
    if Entrance::of(tree)? != Entrance::Workspace {
        entrance::point(tree, &tree.copy)?;
    }
    forget_leftover(setting, tree)?;
    writeln!(
        io::stdout(),
        "{}: {} has generation {generation} now, with {} that you had added or changed; the one before is {}",
        tree.name,
        tree.copy.display(),
        entries(brought),
        tree.previous.display()
    )?;
    tell_users(tree);
    Ok(Exit::Done)
}

/// Exchanges the copy and the previous one.
pub fn rollback(setting: &Setting<'_>, tree: &Tree, dry_run: bool) -> Outcome {
    refuse_while_locked(setting)?;
    refuse_mounts(tree)?;
    if !dry_run {
        recover(setting, tree)?;
    }
    let now = whole(setting, tree, &tree.copy)?;
    let previous = whole(setting, tree, &tree.previous)?;
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
    let parent = copy::open_parent(tree, &setting.workspace.path)?;
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
    tell_users(tree);
    Ok(Exit::Done)
}

fn refuse_while_locked(setting: &Setting<'_>) -> Result<()> {
    let lock = setting.workspace.update_lock();
    if !setting.workspace.is_update_locked()? {
        return Ok(());
    }
    Err(anyhow!("{} exists; nothing was changed", lock.display()))
        .hint(|| format!("remove it to allow updates: rm {}", lock.display()))
}

/// A mount would move with the directory that it is in, or be copied, or lie in one that is removed.
fn refuse_mounts(tree: &Tree) -> Result<()> {
    Ok(mounted::refuse(tree, &[&tree.image, &tree.copy, &aside(tree), &tree.previous])?)
}

fn whole(setting: &Setting<'_>, tree: &Tree, path: &Path) -> Result<Marker> {
    match look::copy(tree, &setting.workspace.path, path)? {
        Copy::Whole(marker) => Ok(marker),
        Copy::Absent => bail!("there is no copy of {} at {}", tree.name, path.display()),
        Copy::Foreign(what) => bail!("{} cannot be used: {what}", path.display()),
    }
}

/// Brings the user's work in the copy into the new generation; returns how many entries, a new directory with all its
/// content being one.
fn bring_along(
    setting: &Setting<'_>,
    tree: &Tree,
    prepared: &Prepared,
    marker: &Marker,
    listing: Option<Listing>,
) -> Result<u64> {
    let root = &setting.workspace.path;
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
    let additions = Additions {
        old: look::open(root, &tree.copy).with_context(|| format!("cannot open {}", tree.copy.display()))?,
        shown: &tree.copy,
        base: ImageBase { listing, unlisted_since: Instant(completed_at.saturating_add(1), 0) },
        prepared,
        capabilities: tree_copy::probe(&copy::path_of(&copy::open_parent(tree, root)?))?,
        brought: Cell::new(0),
        beside: RefCell::default(),
    };
    additions.bring()?;
    let beside = additions.beside.into_inner();
    for name in beside.iter().take(SHOWN) {
        let shown = escape_control_line(&tree.copy.join(name).display().to_string());
        log::warn!("{}: kept your version as {shown}; the image's version replaces it", tree.name);
    }
    if beside.len() > SHOWN {
        log::warn!(
            "{}: and {} more, see {MORE}",
            tree.name,
            units::format_count((beside.len() - SHOWN) as u64)
        );
    }
    Ok(additions.brought.get())
}

/// Exchanges two directories in `parent`. Where the kernel cannot do it in one step, programs use the image's copy
/// meanwhile, so that the entrance never leads to nothing.
fn swap(tree: &Tree, parent: &OwnedFd, one: &Path, other: &Path) -> Result<()> {
    let cannot = || format!("cannot exchange {} and {}", one.display(), other.display());
    let (first, second) = (one.file_name().unwrap_or_default(), other.file_name().unwrap_or_default());
    match renameat2(parent, first, parent, second, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => return Ok(()),
        Err(nix::Error::EINVAL | nix::Error::ENOSYS | nix::Error::EOPNOTSUPP) => {}
        Err(error) => return Err(error).with_context(cannot),
    }
    let aside = aside(tree);
    let leads_there = Entrance::of(tree)? == Entrance::Workspace;
    if leads_there && tree.image.is_dir() {
        entrance::point(tree, &tree.image)?;
    }
    copy::place(parent, other, &aside)?;
    copy::place(parent, one, other)?;
    copy::place(parent, &aside, one)?;
    if leads_there {
        entrance::point(tree, &tree.copy)?;
    }
    Ok(())
}

/// Place of the copy while two directories are exchanged by two renames.
fn aside(tree: &Tree) -> PathBuf {
    let mut name = tree.copy.file_name().unwrap_or_default().to_owned();
    name.push(".exchange");
    tree.copy.with_file_name(name)
}

/// Finishes or undoes an exchange in three steps that was killed between them.
pub fn recover(setting: &Setting<'_>, tree: &Tree) -> Result<()> {
    let aside = aside(tree);
    let root = &setting.workspace.path;
    if !matches!(look::copy(tree, root, &aside)?, Copy::Whole(_)) {
        return Ok(());
    }
    let parent = copy::open_parent(tree, root)?;
    match look::copy(tree, root, &tree.copy)? {
        Copy::Absent => copy::place(&parent, &aside, &tree.copy),
        Copy::Whole(_) => retire(setting, tree, &parent, &aside),
        Copy::Foreign(_) => Ok(()),
    }
}

/// Returns the parent directory of a copy that a refresh replaced and that still has the name of a partial one.
fn replaced(setting: &Setting<'_>, tree: &Tree) -> Result<Option<OwnedFd>> {
    let root = &setting.workspace.path;
    if !matches!(look::copy(tree, root, &tree.partial)?, Copy::Whole(_)) {
        return Ok(None);
    }
    let partial = look::open(root, &tree.partial)?;
    if marker::read_small(&partial, reserved_names::CLAIM)?.is_some() {
        return Ok(None);
    }
    copy::open_parent(tree, root).map(Some)
}

/// Makes the directory at `from` the previous copy; an older one goes.
fn retire(setting: &Setting<'_>, tree: &Tree, parent: &OwnedFd, from: &Path) -> Result<()> {
    if is_obsolete(setting, tree)? {
        discard(setting, tree, parent)
            .with_context(|| format!("cannot remove {}", tree.previous.display()))?;
    }
    copy::place(parent, from, &tree.previous)
}

/// Returns whether there is an older previous copy, or what a kill left of one; anything else of that name is refused.
fn is_obsolete(setting: &Setting<'_>, tree: &Tree) -> Result<bool> {
    let root = &setting.workspace.path;
    let what = match look::copy(tree, root, &tree.previous)? {
        Copy::Absent => return Ok(false),
        Copy::Whole(_) => return Ok(true),
        Copy::Foreign(what) => what,
    };
    if let Ok(directory) = look::open(root, &tree.previous) {
        let rest = marker::read_small(&directory, reserved_names::CLAIM)?;
        let rest = rest.and_then(|text| serde_json::from_slice::<Marker>(&text).ok());
        if rest.is_some_and(|marker| marker.tree == tree.name) || claim::is_empty(&directory)? {
            return Ok(true);
        }
    }
    Err(anyhow!("{} is taken: {what}", tree.previous.display()))
        .hint(|| "move it away; it is never overwritten".to_owned())
}

/// Removes the previous copy. Its marker is renamed first and removed last, so that what a kill leaves is neither taken
/// for a whole copy nor for the user's directory.
fn discard(setting: &Setting<'_>, tree: &Tree, parent: &OwnedFd) -> Result<()> {
    mounted::refuse(tree, &[&tree.previous])?;
    let directory = look::open(&setting.workspace.path, &tree.previous)?;
    match renameat(&directory, reserved_names::MARKER, &directory, reserved_names::CLAIM) {
        Ok(()) => copy::sync(&directory)?,
        Err(nix::Error::ENOENT) => {}
        Err(error) => return Err(error.into()),
    }
    for base in walk::names(&directory)? {
        if base != reserved_names::CLAIM {
            dirfd::remove_all(&directory, base.as_os_str())
                .map_err(std::io::Error::from)
                .with_context(|| format!("cannot remove {}", tree.previous.join(&base).display()))?;
        }
    }
    claim::release(&directory)?;
    let name = tree.previous.file_name().unwrap_or_default();
    Ok(unlinkat(parent, name, UnlinkatFlags::RemoveDir)?)
}

/// The image's copy and this one are different generations now: what is written to the one is not for the other.
fn forget_leftover(setting: &Setting<'_>, tree: &Tree) -> Result<()> {
    let mut memory = Memory::load(setting.memory, &tree.name);
    memory.leftover = None;
    memory.store(setting.memory, &tree.name)
}

fn tell_users(tree: &Tree) {
    for holder in holders::of(&tree.previous).iter().filter(|holder| !holder.hidden) {
        log::warn!("{} still uses {}: restart it", holder.shown(), tree.previous.display());
    }
}

fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{} entries", units::format_count(number)) }
}
