//! Names that the target has and the source has not.

use std::collections::HashSet;
use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;

use nix::errno::Errno;

use crate::attributes::Fault;

/// Returns the number of names in an open directory that count.
pub(crate) fn count(directory: BorrowedFd<'_>, counts: impl Fn(&CStr) -> bool) -> Result<u64, Errno> {
    let mut number = 0;
    dirfd::for_each(directory, |entry| {
        number += u64::from(counts(entry.file_name()));
        Ok::<_, Errno>(())
    })?;
    Ok(number)
}

/// Returns names of `target` that `source` lacks, a limited number at a time.
pub(crate) fn surplus(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    keep: impl Fn(&CStr) -> bool,
) -> Result<Vec<CString>, Fault> {
    /// More than that are asked for one by one, so that a huge directory takes no memory.
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
    .map_err(Fault::Source)?;
    let mut surplus = vec![];
    dirfd::for_each(target, |entry| {
        let name = entry.file_name();
        let wanted = match &known {
            Some(names) => names.contains(name),
            None => dirfd::stat(source, name)?.is_some(),
        };
        if !wanted && !keep(name) && surplus.len() < REMEMBERED {
            surplus.push(name.to_owned());
        }
        Ok::<_, Errno>(())
    })
    .map_err(Fault::Target)?;
    Ok(surplus)
}
