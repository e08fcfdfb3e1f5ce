//! Handles the directories of a pass: makes them before their entries, finishes them after.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::sys::stat::{Mode, fstat, mkdirat};

use crate::attributes;
use crate::compare::{Verdict, compare};
use crate::error::{Error, Result, SideError};
use crate::metadata::Metadata;
use crate::observer::{Difference, NoteKind};
use crate::open_directories::{TargetSide, WalkDirectory};
use crate::options::Check;
use crate::pass_context::{PassContext, increment, note_dropped};
use crate::prune;
use crate::tree_walk::{EntryPlace, Walk};

const SET_GROUP_ID: u32 = 0o2000;

/// Opens the target's directory, or makes it.
pub(crate) fn enter_directory(
    context: &PassContext<'_>,
    at: &EntryPlace<'_, '_>,
    source: &Metadata,
) -> Result<TargetSide> {
    let EntryPlace { walk, directory: parent, name, .. } = *at;
    let Some(target) = at.target() else {
        context.differs(walk, parent, name, Difference::Missing);
        return Ok(TargetSide::default());
    };
    let refused = |action| move |cause| at.error(action, SideError::Target(cause));
    let there = if parent.is_new { None } else { Metadata::at(target, name).map_err(refused("read"))? };
    if let Some(before) = there.filter(Metadata::is_directory) {
        parent.shared.fetch_add(1, Ordering::Relaxed);
        let directory = match dirfd::open_dir(target, name) {
            // A mount hides the copy's content.
            Err(Errno::EXDEV) if !context.options.write => {
                context.differs(walk, parent, name, Difference::Modified);
                return Ok(TargetSide::default());
            }
            opened => opened.map_err(refused("open"))?,
        };
        return Ok(TargetSide {
            directory: Some(directory),
            is_new: false,
            plain: false,
            before: Some(before),
        });
    }
    if !context.options.write {
        let how = if there.is_some() { Difference::Kind } else { Difference::Missing };
        context.differs(walk, parent, name, how);
        if there.is_some() {
            parent.shared.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(TargetSide::default());
    }
    if there.is_some() {
        dirfd::remove_all(target, name).map_err(refused("remove"))?;
    }
    let (directory, plain) = create(context, parent, target, name, source).map_err(refused("make"))?;
    parent.shared.fetch_add(1, Ordering::Relaxed);
    increment(&context.counters.updated);
    Ok(TargetSide { directory: Some(directory), is_new: true, plain, before: None })
}

/// Makes a directory without inherited ACLs; returns true if new files in it keep their owner and mode.
fn create(
    context: &PassContext<'_>,
    parent: &WalkDirectory,
    target: BorrowedFd<'_>,
    name: &CStr,
    source: &Metadata,
) -> std::result::Result<(OwnedFd, bool), Errno> {
    mkdirat(target, name, Mode::from_bits_truncate(source.mode & 0o777 | 0o700))?;
    let directory = dirfd::open_dir(target, name)?;
    if parent.is_new && parent.plain {
        return Ok((directory, true));
    }
    if context.options.capabilities.access_lists {
        let node = Node::Open(directory.as_fd());
        for list in
            attributes::names(&node)?.iter().filter(|name| attributes::is_access_list(name.to_bytes()))
        {
            node.remove(list)?;
        }
    }
    let made = Metadata::from(fstat(&directory)?);
    Ok((directory, made.mode & SET_GROUP_ID == 0 && made.owner == context.making.creator))
}

/// Finishes a directory after its content: removes extra names, and sets its owner, mode and time.
pub(crate) fn finish_directory(
    context: &PassContext<'_>,
    walk: &Walk,
    directory: &Arc<WalkDirectory>,
) -> Result<()> {
    if !directory.has_target {
        return Ok(());
    }
    let Some(pair) = walk.open_pair(directory)? else { return Ok(()) };
    let Some(target) = &pair.target else { return Ok(()) };
    if context.options.prune && !directory.is_new {
        prune::prune(context, walk, directory, &pair, target.as_fd())?;
    }
    let now = match fstat(&pair.source) {
        Err(cause) if walk.note_if_gone(directory, cause) => return Ok(()),
        now => Metadata::from(now.map_err(|cause| walk.source_error("read", directory, None, cause))?),
    };
    if !directory.meta.unchanged(&now) {
        increment(&context.counters.unstable);
        note(walk, directory, NoteKind::Unstable);
    }
    finish(context, walk, directory, pair.source.as_fd(), target.as_fd())
}

fn finish(
    context: &PassContext<'_>,
    walk: &Walk,
    directory: &WalkDirectory,
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let can = context.options.capabilities;
    let write = context.options.write;
    let wanted = &directory.meta;
    let refused = |action| move |cause| walk.target_error(action, directory, None, cause);
    // Compared with the state before this pass, which changed the directory's times.
    let mut differed = match &directory.before {
        Some(before) => {
            // Names that are kept out of the comparison change the root's time.
            let times =
                directory.parent.is_none() || attributes::same_time(wanted.modified, before.modified, can);
            compare(wanted, before, can) != Verdict::Same || !times
        }
        None => false,
    };
    let look_closer = context.options.check == Check::Content
        || directory.before.is_none_or(|before| context.moments.attributes_may_differ(wanted, &before, can));
    let now = Metadata::from(fstat(target).map_err(refused("read"))?);
    if write {
        attributes::set_access(target, wanted, (now.owner, now.mode), can).map_err(refused("adjust"))?;
    }
    if look_closer {
        let blank = directory.is_new && directory.plain;
        let attributes =
            match attributes::copy_attributes(&Node::Open(source), &Node::Open(target), blank, write, can) {
                Err(SideError::Source(cause)) if walk.note_if_gone(directory, cause) => return Ok(()),
                attributes => attributes.map_err(|error| match error {
                    SideError::Source(cause) => {
                        walk.source_error("read the attributes of", directory, None, cause)
                    }
                    SideError::Target(cause) => walk.target_error("adjust", directory, None, cause),
                    SideError::Stopped => Error::Stopped,
                })?,
            };
        differed |= attributes.differed && !directory.is_new;
        if let Some(parent) = &directory.parent {
            note_dropped(walk, parent, &directory.name, attributes.dropped);
        }
    }
    if write && !attributes::same_time(wanted.modified, now.modified, can) {
        attributes::set_times(target, wanted.accessed, wanted.modified).map_err(refused("adjust"))?;
    }
    if differed && write {
        increment(&context.counters.updated);
    } else if differed {
        increment(&context.counters.differing);
        note(walk, directory, NoteKind::Differs(Difference::Metadata));
    }
    Ok(())
}

fn note(walk: &Walk, directory: &WalkDirectory, what: NoteKind) {
    match &directory.parent {
        Some(parent) => walk.note(parent, &directory.name, what),
        None => walk.note(directory, c"", what),
    }
}
