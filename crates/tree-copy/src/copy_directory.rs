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
use crate::error::{Error, Fault, Result};
use crate::metadata::Metadata;
use crate::observer::{Difference, NoteKind};
use crate::open_directories::{Folder, Pair, TargetSide};
use crate::options::Check;
use crate::pass_context::{PassContext, increment, note_dropped};
use crate::prune;
use crate::tree_walk::Walk;

const SET_GROUP_ID: u32 = 0o2000;

/// Opens the target's directory, or makes it.
pub(crate) fn enter_directory(
    context: &PassContext<'_>,
    walk: &Walk,
    parent: &Folder,
    pair: &Pair,
    name: &CStr,
    source: &Metadata,
) -> Result<TargetSide> {
    let Some(target) = &pair.target else {
        context.differs(walk, parent, name, Difference::Missing);
        return Ok(TargetSide::default());
    };
    let target = target.as_fd();
    let refused = |action| move |cause| walk.target_error(action, parent, Some(name), cause);
    let there = if parent.fresh { None } else { Metadata::at(target, name).map_err(refused("read"))? };
    if let Some(before) = there.filter(Metadata::is_directory) {
        parent.shared.fetch_add(1, Ordering::Relaxed);
        let directory = match dirfd::open_dir(target, name) {
            // What is mounted there hides what the copy has below.
            Err(Errno::EXDEV) if !context.options.write => {
                context.differs(walk, parent, name, Difference::Written);
                return Ok(TargetSide::default());
            }
            opened => opened.map_err(refused("open"))?,
        };
        return Ok(TargetSide {
            directory: Some(directory),
            fresh: false,
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
    increment(&context.tally.updated);
    Ok(TargetSide { directory: Some(directory), fresh: true, plain, before: None })
}

/// Makes a directory without what it would inherit; whether its files will have the mode and owner they are made with.
fn create(
    context: &PassContext<'_>,
    parent: &Folder,
    target: BorrowedFd<'_>,
    name: &CStr,
    source: &Metadata,
) -> std::result::Result<(OwnedFd, bool), Errno> {
    mkdirat(target, name, Mode::from_bits_truncate(source.mode & 0o777 | 0o700))?;
    let directory = dirfd::open_dir(target, name)?;
    if parent.fresh && parent.plain {
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

/// Everything below is done: removes what is too much, and gives the directory its own owner, mode and time.
pub(crate) fn finish_directory(context: &PassContext<'_>, walk: &Walk, folder: &Arc<Folder>) -> Result<()> {
    if !folder.has_target {
        return Ok(());
    }
    let Some(pair) = walk.pair(folder)? else { return Ok(()) };
    let Some(target) = &pair.target else { return Ok(()) };
    if context.options.prune && !folder.fresh {
        prune::prune(context, walk, folder, &pair, target.as_fd())?;
    }
    let now = match fstat(&pair.source) {
        Err(cause) if walk.has_gone(folder, cause) => return Ok(()),
        now => Metadata::from(now.map_err(|cause| walk.source_error("read", folder, None, cause))?),
    };
    if !folder.meta.unchanged(&now) {
        increment(&context.tally.restless);
        note(walk, folder, NoteKind::Restless);
    }
    finish(context, walk, folder, pair.source.as_fd(), target.as_fd())
}

fn finish(
    context: &PassContext<'_>,
    walk: &Walk,
    folder: &Folder,
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let can = context.options.capabilities;
    let write = context.options.write;
    let wanted = &folder.meta;
    let refused = |action| move |cause| walk.target_error(action, folder, None, cause);
    // The state before this pass: what it did to the entries changed the directory's times.
    let mut differed = match &folder.before {
        Some(before) => {
            // Names that are kept out of the comparison change the root's time.
            let times =
                folder.parent.is_none() || attributes::same_time(wanted.modified, before.modified, can);
            compare(wanted, before, can) != Verdict::Same || !times
        }
        None => false,
    };
    let look_closer = context.options.check == Check::Content
        || folder.before.is_none_or(|before| context.moments.attributes_may_differ(wanted, &before, can));
    let now = Metadata::from(fstat(target).map_err(refused("read"))?);
    if write {
        attributes::set_access(target, wanted, (now.owner, now.mode), can).map_err(refused("adjust"))?;
    }
    if look_closer {
        let blank = folder.fresh && folder.plain;
        let attributes =
            match attributes::copy_attributes(&Node::Open(source), &Node::Open(target), blank, write, can) {
                Err(Fault::Source(cause)) if walk.has_gone(folder, cause) => return Ok(()),
                attributes => attributes.map_err(|fault| match fault {
                    Fault::Source(cause) => walk.source_error("read the attributes of", folder, None, cause),
                    Fault::Target(cause) => walk.target_error("adjust", folder, None, cause),
                    Fault::Stopped => Error::Stopped,
                })?,
            };
        differed |= attributes.differed && !folder.fresh;
        if let Some(parent) = &folder.parent {
            note_dropped(walk, parent, &folder.name, attributes.dropped);
        }
    }
    if write && !attributes::same_time(wanted.modified, now.modified, can) {
        attributes::set_times(target, wanted.accessed, wanted.modified).map_err(refused("adjust"))?;
    }
    if differed && write {
        increment(&context.tally.updated);
    } else if differed {
        increment(&context.tally.differing);
        note(walk, folder, NoteKind::Differs(Difference::Access));
    }
    Ok(())
}

fn note(walk: &Walk, folder: &Folder, what: NoteKind) {
    match &folder.parent {
        Some(parent) => walk.note(parent, &folder.name, what),
        None => walk.note(folder, c"", what),
    }
}
