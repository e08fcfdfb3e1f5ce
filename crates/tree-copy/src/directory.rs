//! What a pass does with directories: makes them before their entries, finishes them after.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;

use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::sys::stat::{Mode, fstat, mkdirat};

use crate::attributes::{self, Fault};
use crate::compare::{Verdict, compare};
use crate::copier::{Copier, dropped, look, one_more};
use crate::error::{Error, Result};
use crate::folder::{Folder, Pair, TargetSide};
use crate::meta::Meta;
use crate::observer::{Difference, What};
use crate::options::Check;
use crate::remove;
use crate::walk::Walk;

const SET_GROUP_ID: u32 = 0o2000;

/// Opens the target's directory, or makes it.
pub(crate) fn enter(
    copier: &Copier<'_>,
    walk: &Walk<'_>,
    parent: &Folder,
    pair: &Pair,
    name: &CString,
    source: &Meta,
) -> Result<TargetSide> {
    let Some(target) = &pair.target else {
        copier.differs(walk, parent, name, Difference::Missing);
        return Ok(TargetSide::default());
    };
    let target = target.as_fd();
    let refused = |action| move |cause| walk.target_error(action, parent, Some(name), cause);
    let there = if parent.fresh { None } else { look(target, name).map_err(refused("read"))? };
    if let Some(before) = there.filter(Meta::is_directory) {
        parent.shared.fetch_add(1, Ordering::Relaxed);
        let directory = match dirfd::open_dir(target, name.as_c_str()) {
            // What is mounted there hides what the copy has below.
            Err(Errno::EXDEV) if !copier.options.write => {
                copier.differs(walk, parent, name, Difference::Written);
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
    if !copier.options.write {
        let how = if there.is_some() { Difference::Kind } else { Difference::Missing };
        copier.differs(walk, parent, name, how);
        if there.is_some() {
            parent.shared.fetch_add(1, Ordering::Relaxed);
        }
        return Ok(TargetSide::default());
    }
    if there.is_some() {
        dirfd::remove_all(target, name.as_c_str()).map_err(refused("remove"))?;
    }
    let (directory, plain) = create(copier, parent, target, name, source).map_err(refused("make"))?;
    parent.shared.fetch_add(1, Ordering::Relaxed);
    one_more(&copier.tally.updated);
    Ok(TargetSide { directory: Some(directory), fresh: true, plain, before: None })
}

/// Makes a directory without what it would inherit; whether its files will have the mode and owner they are made with.
fn create(
    copier: &Copier<'_>,
    parent: &Folder,
    target: BorrowedFd<'_>,
    name: &CStr,
    source: &Meta,
) -> std::result::Result<(OwnedFd, bool), Errno> {
    mkdirat(target, name, Mode::from_bits_truncate(source.mode & 0o777 | 0o700))?;
    let directory = dirfd::open_dir(target, name)?;
    if parent.fresh && parent.plain {
        return Ok((directory, true));
    }
    if copier.options.capabilities.access_lists {
        let node = Node::Open(directory.as_fd());
        for list in
            attributes::names(&node)?.iter().filter(|name| attributes::is_access_list(name.to_bytes()))
        {
            node.remove(list)?;
        }
    }
    let made = Meta::from(fstat(&directory)?);
    Ok((directory, made.mode & SET_GROUP_ID == 0 && made.owner == copier.making.creator))
}

/// Everything below is done: removes what is too much, and gives the directory its own owner, mode and time.
pub(crate) fn leave(copier: &Copier<'_>, walk: &Walk<'_>, folder: &Arc<Folder>) -> Result<()> {
    if !folder.has_target {
        return Ok(());
    }
    let Some(pair) = walk.pair(folder)? else { return Ok(()) };
    let Some(target) = &pair.target else { return Ok(()) };
    if copier.options.prune && !folder.fresh {
        prune(copier, walk, folder, &pair, target.as_fd())?;
    }
    let now = match fstat(&pair.source) {
        Err(cause) if walk.has_gone(folder, cause) => return Ok(()),
        now => Meta::from(now.map_err(|cause| walk.source_error("read", folder, None, cause))?),
    };
    if !folder.meta.unchanged(&now) {
        one_more(&copier.tally.restless);
        note(walk, folder, What::Restless);
    }
    finish(copier, walk, folder, pair.source.as_fd(), target.as_fd())
}

fn prune(
    copier: &Copier<'_>,
    walk: &Walk<'_>,
    folder: &Folder,
    pair: &Pair,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let keeps = |name: &CStr| walk.keeps(folder, name.to_bytes());
    let unreadable = |cause| walk.target_error("list", folder, None, cause);
    // All that the source has is there: if there are no more names, there is nothing else.
    let found = remove::count(target, |name| !keeps(name)).map_err(unreadable)?;
    if found == folder.shared.load(Ordering::Relaxed) && !folder.unsure.load(Ordering::Relaxed) {
        return Ok(());
    }
    loop {
        // Opened anew, because some file systems go on listing what was there when a directory was opened.
        let listed = dirfd::open_dir(target, c".").map_err(unreadable)?;
        let surplus = match remove::surplus(pair.source.as_fd(), listed.as_fd(), keeps) {
            // What is above removes it.
            Err(Fault::Source(cause)) if walk.has_gone(folder, cause) => return Ok(()),
            surplus => surplus.map_err(|fault| match fault {
                Fault::Source(cause) => walk.source_error("list", folder, None, cause),
                Fault::Target(cause) => unreadable(cause),
                Fault::Stopped => Error::Stopped,
            })?,
        };
        let mut removed = 0;
        for name in &surplus {
            walk.go_on()?;
            if copier.options.write {
                if !walk.observer.may_remove() {
                    return Err(Error::Stopped);
                }
                removed += dirfd::remove_all(target, name.as_c_str())
                    .map_err(|cause| walk.target_error("remove", folder, Some(name), cause))?;
            } else {
                copier.differs(walk, folder, name, Difference::Surplus);
            }
        }
        copier.tally.removed.fetch_add(removed, Ordering::Relaxed);
        // A large surplus comes in parts; a name that is listed and not there must not be asked for again and again.
        if removed == 0 {
            return Ok(());
        }
    }
}

fn finish(
    copier: &Copier<'_>,
    walk: &Walk<'_>,
    folder: &Folder,
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let can = copier.options.capabilities;
    let write = copier.options.write;
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
    let look_closer = copier.options.check == Check::Content
        || folder.before.is_none_or(|before| copier.moments.attributes_may_differ(wanted, &before, can));
    let now = Meta::from(fstat(target).map_err(refused("read"))?);
    if write {
        attributes::set_access(target, wanted, (now.owner, now.mode), can).map_err(refused("adjust"))?;
    }
    if look_closer {
        let blank = folder.fresh && folder.plain;
        let carried = match attributes::carry(&Node::Open(source), &Node::Open(target), blank, write, can) {
            Err(Fault::Source(cause)) if walk.has_gone(folder, cause) => return Ok(()),
            carried => carried.map_err(|fault| match fault {
                Fault::Source(cause) => walk.source_error("read the attributes of", folder, None, cause),
                Fault::Target(cause) => walk.target_error("adjust", folder, None, cause),
                Fault::Stopped => Error::Stopped,
            })?,
        };
        differed |= carried.differed && !folder.fresh;
        if let Some(parent) = &folder.parent {
            dropped(walk, parent, &folder.name, carried);
        }
    }
    if write && !attributes::same_time(wanted.modified, now.modified, can) {
        attributes::set_times(target, wanted.accessed, wanted.modified).map_err(refused("adjust"))?;
    }
    if differed && write {
        one_more(&copier.tally.updated);
    } else if differed {
        one_more(&copier.tally.differing);
        note(walk, folder, What::Differs(Difference::Access));
    }
    Ok(())
}

fn note(walk: &Walk<'_>, folder: &Folder, what: What) {
    match &folder.parent {
        Some(parent) => walk.note(parent, &folder.name, what),
        None => walk.note(folder, c"", what),
    }
}
