//! Executes the plan of an entry, and counts it.

use std::os::fd::{AsFd, BorrowedFd};

use dirfd::FileType;
use dirfd::xattr::Node;
use nix::errno::Errno;

use crate::attributes::{self, AttributesResult};
use crate::entry_plan::EntryAction;
use crate::entry_state::EntryState;
use crate::error::{Result, SideError};
use crate::hard_links::FirstName;
use crate::make_entry::{EntrySource, MadeEntry, TargetState, make_entry};
use crate::metadata::Metadata;
use crate::observer::NoteKind;
use crate::pass_context::{PassContext, increment, note_dropped};
use crate::replace_entry;
use crate::tree_walk::{EntryPlace, WorkerScratch};

/// Result of an action.
pub(crate) enum Executed {
    /// The target has it, as this inode where that is known.
    Present(Option<u64>),
    /// The target lacks it: only comparing, or it cannot be made there.
    Absent,
    /// The source's entry changed its type or vanished meanwhile.
    Changed,
    /// The file system refuses another hard link to that file.
    LinkRefused,
}

/// Executes one action on an entry; `first` is the name of its file in the target.
pub(crate) fn execute(
    action: EntryAction,
    state: &EntryState,
    first: Option<&FirstName>,
    at: &EntryPlace<'_, '_>,
    context: &PassContext<'_>,
    scratch: &mut WorkerScratch,
) -> Result<Executed> {
    let present = Executed::Present(state.target.map(|target| target.inode));
    match (action, at.target()) {
        (EntryAction::Report(how), _) => {
            context.differs(at.walk, at.directory, at.name, how);
            Ok(if state.target.is_some() { present } else { Executed::Absent })
        }
        (EntryAction::Keep, _) => Ok(present),
        (EntryAction::SetAttributes, Some(target)) => set_attributes(at, target, context).map(|()| present),
        (EntryAction::Adjust, Some(target)) => {
            let from = at.source_node();
            let adjusted =
                replace_entry::set_metadata(&state.source, &from, target, at.name, false, &context.making);
            let attributes = match adjusted {
                Err(SideError::Source(Errno::ENOENT)) => return Ok(Executed::Changed),
                adjusted => adjusted.map_err(|error| at.error("adjust", error))?,
            };
            note_dropped(at.walk, at.directory, at.name, attributes.dropped);
            increment(&context.counters.updated);
            Ok(present)
        }
        (EntryAction::Make, Some(target)) => make(state, at, target, context, scratch),
        (EntryAction::Link, Some(target)) => link(state, first, at, target, context),
        // Plans act only where there is a target directory.
        (EntryAction::Skip | EntryAction::SetAttributes | EntryAction::Adjust, _)
        | (EntryAction::Make | EntryAction::Link, None) => Ok(skip(state, at, context)),
    }
}

fn skip(state: &EntryState, at: &EntryPlace<'_, '_>, context: &PassContext<'_>) -> Executed {
    increment(&context.counters.skipped);
    at.walk.note(at.directory, at.name, NoteKind::SkippedSpecial(special_kind(state.source.kind)));
    Executed::Absent
}

fn set_attributes(at: &EntryPlace<'_, '_>, target: BorrowedFd<'_>, context: &PassContext<'_>) -> Result<()> {
    let to = Node::named(target, at.name);
    let attributes =
        match attributes::copy_attributes(&at.source_node(), &to, false, true, context.making.can) {
            // It vanished: the next pass handles it.
            Err(SideError::Source(Errno::ENOENT)) => AttributesResult::default(),
            attributes => attributes.map_err(|error| at.error("read the attributes of", error))?,
        };
    // A target that refuses an attribute has not been changed.
    if attributes.differed {
        increment(&context.counters.updated);
    }
    note_dropped(at.walk, at.directory, at.name, attributes.dropped);
    Ok(())
}

fn make(
    state: &EntryState,
    at: &EntryPlace<'_, '_>,
    target: BorrowedFd<'_>,
    context: &PassContext<'_>,
    scratch: &mut WorkerScratch,
) -> Result<Executed> {
    let source = &state.source;
    let entry_source = EntrySource {
        directory: at.pair.source.as_fd(),
        name: at.name,
        meta: source,
        link_text: &state.link_text,
    };
    let how = TargetState { free: state.target.is_none(), plain: at.directory.plain };
    let progress = |bytes| {
        at.walk.counters.add(0, 0, bytes);
        at.walk.observer.on_progress(&at.walk.counters);
        at.walk.check_stopped().map_err(|_| SideError::Stopped)
    };
    let made =
        make_entry(&entry_source, target, at.name, how, &context.making, &mut scratch.buffer, &progress)
            .map_err(|error| {
                let action = match error {
                    _ if !source.is_file() => "make",
                    SideError::Source(_) => "read",
                    _ => "write",
                };
                at.error(action, error)
            })?;
    let (inode, unstable, dropped) = match made {
        MadeEntry::Made { inode, unstable, dropped } => (inode, unstable, dropped),
        MadeEntry::Unmakeable => return Ok(skip(state, at, context)),
        MadeEntry::Changed => return Ok(Executed::Changed),
    };
    increment(&context.counters.updated);
    if source.is_file() {
        increment(&context.counters.copied_files);
    }
    if unstable {
        increment(&context.counters.unstable);
        at.walk.note(at.directory, at.name, NoteKind::Unstable);
    }
    note_dropped(at.walk, at.directory, at.name, dropped);
    // Further names are made only of what has several.
    let inode = if inode.is_none() && source.links > 1 {
        let made =
            Metadata::at(target, at.name).map_err(|cause| at.error("read", SideError::Target(cause)))?;
        made.map(|made| made.inode)
    } else {
        inode
    };
    Ok(Executed::Present(inode))
}

fn link(
    state: &EntryState,
    first: Option<&FirstName>,
    at: &EntryPlace<'_, '_>,
    target: BorrowedFd<'_>,
    context: &PassContext<'_>,
) -> Result<Executed> {
    let Some(first) = first else { return Ok(Executed::LinkRefused) };
    let from = at.walk.visit(&first.directory)?;
    let Some(from) = from.as_ref().and_then(|from| from.target.as_ref()) else {
        return Ok(Executed::LinkRefused);
    };
    let made = replace_entry::hard_link(from.as_fd(), &first.name, target, at.name, state.target.is_none())
        .map_err(|error| at.error("link", error))?;
    if !made {
        return Ok(Executed::LinkRefused);
    }
    increment(&context.counters.updated);
    Ok(Executed::Present(first.inode))
}

fn special_kind(kind: FileType) -> &'static str {
    match kind {
        FileType::Fifo => "FIFO",
        FileType::Socket => "socket",
        FileType::CharacterDevice | FileType::BlockDevice => "device",
        _ => "special file",
    }
}
