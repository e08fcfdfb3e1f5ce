//! `refresh` and `rollback`: another generation of a copy, and the way back.

use std::fs;
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use kit::{Exit, HintExt, Outcome};
use nix::fcntl::{RenameFlags, renameat2};
use tree_copy::Unobserved;

use crate::beneath;
use crate::copy::{self, Job};
use crate::decide::Copy;
use crate::entrance::{self, Entrance};
use crate::holders;
use crate::look;
use crate::manifest::Manifest;
use crate::marker::Marker;
use crate::memory::Memory;
use crate::sync::Setting;
use crate::tree::Tree;
use crate::walk::{self, Next};
use kit::units;

/// Replaces the copy by the image's present generation. What was added to the old copy under names that the new
/// generation does not have comes along; all of the old copy stays as `NAME.previous`.
pub fn run(setting: &Setting<'_>, tree: &Tree, dry_run: bool) -> Outcome {
    refuse_while_locked(setting)?;
    let marker = whole(setting, tree, &tree.copy)?;
    if !tree.image.is_dir() {
        bail!("the image has no copy of {} at {}", tree.name, tree.image.display());
    }
    let mut memory = Memory::load(setting.memory, &tree.name);
    let generation = setting.generation(tree, &tree.image, &mut memory)?;
    let steps = [
        format!("copy {} to {}", tree.image.display(), tree.partial.display()),
        format!("bring what was added to {} along", tree.copy.display()),
        format!("rename {} to {}", tree.copy.display(), tree.previous.display()),
        format!("rename {} to {}", tree.partial.display(), tree.copy.display()),
    ];
    let previous = look::copy(tree, &setting.workspace.path, &tree.previous)?;
    let replaced = look::copy(tree, &setting.workspace.path, &tree.partial)?;
    if let Copy::Whole(replaced) = replaced
        && replaced.generation != generation
        && !dry_run
    {
        // An earlier refresh was killed after the exchange: this is the copy that it replaced.
        let parent = copy::open_parent(tree, &setting.workspace.path)?;
        retire(tree, &parent, &tree.partial, &previous)?;
    }
    if marker.generation == generation {
        writeln!(io::stdout(), "{}: the copy has the image's generation ({generation}) already", tree.name)?;
        return Ok(Exit::Done);
    }
    if dry_run {
        for step in steps {
            writeln!(io::stdout(), "{}: {step}", tree.name)?;
        }
        return Ok(Exit::Done);
    }
    let previous = look::copy(tree, &setting.workspace.path, &tree.previous)?;
    if let Copy::Foreign(what) = &previous {
        return Err(anyhow!("{} is taken: {what}", tree.previous.display()))
            .hint(|| "move it away; it is never overwritten".to_owned());
    }
    let claim = setting.claim_on(tree);
    let job = Job {
        tree,
        source: &tree.image,
        generation: &generation,
        workspace: &setting.workspace.path,
        claim: &claim,
        memory: setting.memory,
        journal: setting.journal,
        manner: setting.manner,
    };
    let (parent, _) = job.prepare()?;
    let previous = look::copy(tree, &setting.workspace.path, &tree.previous)?;
    let added = bring_along(setting, tree)?;
    swap(tree, &parent, &tree.partial, &tree.copy)?;
    retire(tree, &parent, &tree.partial, &previous)?;
    if Entrance::of(tree)? != Entrance::Workspace {
        entrance::point(tree, &tree.copy)?;
    }
    forget_leftover(setting, tree)?;
    writeln!(
        io::stdout(),
        "{}: {} has generation {generation} now, with {} that you had added; the one before is {}",
        tree.name,
        tree.copy.display(),
        entries(added),
        tree.previous.display()
    )?;
    tell_users(tree);
    Ok(Exit::Done)
}

/// Exchanges the copy and the previous one.
pub fn rollback(setting: &Setting<'_>, tree: &Tree, dry_run: bool) -> Outcome {
    refuse_while_locked(setting)?;
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
    Err(anyhow!("{} is there, so that nothing is changed", lock.display()))
        .hint(|| format!("remove it to allow updates: rm {}", lock.display()))
}

fn whole(setting: &Setting<'_>, tree: &Tree, path: &Path) -> Result<Marker> {
    match look::copy(tree, &setting.workspace.path, path)? {
        Copy::Whole(marker) => Ok(marker),
        Copy::Absent => bail!("there is no copy of {} at {}", tree.name, path.display()),
        Copy::Foreign(what) => bail!("{} cannot be used: {what}", path.display()),
    }
}

/// Copies what was added to the copy since it was whole into the new generation, as far as the names are free there;
/// returns how many entries, a directory with all its content being one.
fn bring_along(setting: &Setting<'_>, tree: &Tree) -> Result<u64> {
    let root = &setting.workspace.path;
    let old = look::open(root, &tree.copy).with_context(|| format!("cannot open {}", tree.copy.display()))?;
    let new =
        look::open(root, &tree.partial).with_context(|| format!("cannot open {}", tree.partial.display()))?;
    let Some(manifest) = Manifest::read(&old)? else {
        log::warn!(
            "{}: the list of the copy's names is damaged, so that nothing is brought along",
            tree.name
        );
        return Ok(0);
    };
    let capabilities = tree_copy::probe(&copy::path_of(&copy::open_parent(tree, root)?))?;
    let keep = copy::kept();
    let mut added = 0;
    walk::each(&old, &mut |entry| -> Result<Next> {
        if entry.name.as_os_str() == entry.base && keep.contains(&entry.base) {
            return Ok(Next::Skip);
        }
        let above = entry.name.parent().unwrap_or(Path::new(""));
        if manifest.has(entry.name) {
            return Ok(Next::Enter);
        }
        // Where the new generation has no such directory, or has something of that name, what was added has no place.
        let Ok(place) = beneath::open_below(&new, above) else { return Ok(Next::Skip) };
        if !is_free(&place, entry.base) {
            return Ok(Next::Enter);
        }
        tree_copy::replicate(
            entry.directory,
            entry.base,
            place.as_fd(),
            entry.base,
            &capabilities,
            &Unobserved,
        )
        .with_context(|| format!("cannot bring {} along", tree.copy.join(entry.name).display()))?;
        added += 1;
        Ok(Next::Skip)
    })?;
    Ok(added)
}

fn is_free(place: &OwnedFd, base: &std::ffi::OsStr) -> bool {
    nix::sys::stat::fstatat(place, base, nix::fcntl::AtFlags::AT_SYMLINK_NOFOLLOW) == Err(nix::Error::ENOENT)
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
    let aside = tree.copy.with_file_name(format!("{}.exchange", second.to_string_lossy()));
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

/// Makes the directory at `from` the previous copy; an older one goes.
fn retire(tree: &Tree, parent: &OwnedFd, from: &Path, previous: &Copy) -> Result<()> {
    if matches!(previous, Copy::Whole(_)) {
        let name = tree.previous.file_name().unwrap_or_default();
        // The standard library walks by descriptors and follows no link.
        fs::remove_dir_all(copy::path_of(parent).join(name))
            .with_context(|| format!("cannot remove {}", tree.previous.display()))?;
    }
    copy::place(parent, from, &tree.previous)
}

/// The image's copy and this one are different generations now: what is written to the one is not for the other.
fn forget_leftover(setting: &Setting<'_>, tree: &Tree) -> Result<()> {
    let mut memory = Memory::load(setting.memory, &tree.name);
    memory.leftover = None;
    memory.store(setting.memory, &tree.name)
}

fn tell_users(tree: &Tree) {
    for holder in holders::of(&tree.previous) {
        log::warn!("{} ({}) still uses {}: restart it", holder.name, holder.pid, tree.previous.display());
    }
}

fn entries(number: u64) -> String {
    if number == 1 { "1 entry".to_owned() } else { format!("{} entries", units::count(number)) }
}
