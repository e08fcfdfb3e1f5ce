//! Removes names of the target that the source lacks, or counts them.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd};
use std::sync::atomic::Ordering;

use nix::errno::Errno;

use crate::error::{Error, Result, SideError};
use crate::observer::Difference;
use crate::open_directories::{OpenPair, WalkDirectory};
use crate::pass_context::PassContext;
use crate::tree_walk::Walk;

/// Removes every name from a directory of the target that the source lacks, except kept names.
pub(crate) fn prune(
    context: &PassContext<'_>,
    walk: &Walk,
    directory: &WalkDirectory,
    pair: &OpenPair,
    target: BorrowedFd<'_>,
) -> Result<()> {
    let keeps = |name: &CStr| walk.keeps(directory, name.to_bytes());
    let unreadable = |cause| walk.target_error("list", directory, None, cause);
    // Every source name exists in the target, so equal counts mean no extra names.
    let found = count(target, |name| !keeps(name)).map_err(unreadable)?;
    if found == directory.shared.load(Ordering::Relaxed) && !directory.may_be_stale.load(Ordering::Relaxed) {
        return Ok(());
    }
    loop {
        // Reopened, because some file systems list the state of the moment when a directory was opened.
        let listed = dirfd::open_dir(target, c".").map_err(unreadable)?;
        let extra_names = match extra_names(pair.source.as_fd(), listed.as_fd(), keeps) {
            // The parent's prune removes it.
            Err(SideError::Source(cause)) if walk.note_if_gone(directory, cause) => return Ok(()),
            extra_names => extra_names.map_err(|error| match error {
                SideError::Source(cause) => walk.source_error("list", directory, None, cause),
                SideError::Target(cause) => unreadable(cause),
                SideError::Stopped => Error::Stopped,
            })?,
        };
        let mut removed = 0;
        for name in &extra_names {
            walk.check_stopped()?;
            if context.options.write {
                if !walk.observer.may_remove() {
                    return Err(Error::Stopped);
                }
                removed += dirfd::remove_all(target, name.as_c_str())
                    .map_err(|cause| walk.target_error("remove", directory, Some(name), cause))?;
            } else {
                context.differs(walk, directory, name, Difference::Extra);
            }
        }
        context.counters.removed.fetch_add(removed, Ordering::Relaxed);
        // Many extra names are removed in parts; a listed name that does not exist must not cause an endless loop.
        if removed == 0 {
            return Ok(());
        }
    }
}

/// Returns the number of names in an open directory for which `counts` is true.
fn count(directory: BorrowedFd<'_>, counts: impl Fn(&CStr) -> bool) -> nix::Result<u64> {
    let mut number = 0;
    dirfd::for_each(directory, |entry| {
        number += u64::from(counts(entry.file_name()));
        Ok::<_, Errno>(())
    })?;
    Ok(number)
}

/// Returns names of `target` that `source` lacks, a limited number at a time.
fn extra_names(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    keep: impl Fn(&CStr) -> bool,
) -> std::result::Result<Vec<CString>, SideError> {
    /// Beyond this number, names are looked up one by one, so that a huge directory takes no memory.
    const REMEMBERED: usize = 20_000;
    let mut known: Option<HashSet<CString>> = Some(HashSet::new());
    dirfd::for_each(source, |entry| {
        if let Some(names) = &mut known {
            names.insert(entry.file_name().to_owned());
            if names.len() > REMEMBERED {
                known = None;
            }
        }
        Ok::<_, Errno>(())
    })
    .map_err(SideError::Source)?;
    let mut extra_names = vec![];
    dirfd::for_each(target, |entry| {
        let name = entry.file_name();
        let wanted = match &known {
            Some(names) => names.contains(name),
            None => dirfd::stat(source, name)?.is_some(),
        };
        if !wanted && !keep(name) && extra_names.len() < REMEMBERED {
            extra_names.push(name.to_owned());
        }
        Ok::<_, Errno>(())
    })
    .map_err(SideError::Target)?;
    Ok(extra_names)
}
