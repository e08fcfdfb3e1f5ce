//! Names for what is being made and shall take the place of something else.

use std::ffi::{CStr, CString};
use std::os::fd::BorrowedFd;
use std::path::Path;
use std::sync::atomic::{AtomicU32, Ordering};

use rustix::io::Errno;

use crate::remove;

/// Calls `make` with names that nobody uses until one is free, and returns that name.
///
/// A name left behind by a killed process is an entry that the source lacks: a pass that prunes removes it.
pub(crate) fn at_a_free_name<T>(
    mut make: impl FnMut(&CString) -> Result<T, Errno>,
) -> Result<(CString, T), Errno> {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let number = NEXT.fetch_add(1, Ordering::Relaxed);
        let name = format!(".tree-copy.{}-{number}.tmp", std::process::id());
        // A number's text has no zero byte.
        let name = CString::new(name).unwrap_or_default();
        match make(&name) {
            Err(Errno::EXIST) => {}
            Ok(result) => return Ok((name, result)),
            Err(cause) => return Err(cause),
        }
    }
}

/// Removes what processes left in a directory that were killed; what belongs to a living process number stays.
pub(crate) fn sweep(directory: BorrowedFd<'_>) -> Result<(), Errno> {
    let mut left = vec![];
    remove::each_name(directory, |name| {
        if maker(name).is_some_and(|process| !Path::new("/proc").join(process.to_string()).exists()) {
            left.push(name.to_owned());
        }
        Ok(())
    })?;
    for name in left {
        remove::remove(directory, &name)?;
    }
    Ok(())
}

/// The process that made a name of [`at_a_free_name`]'s form.
fn maker(name: &CStr) -> Option<u32> {
    let name = name.to_str().ok()?;
    let (process, number) = name.strip_prefix(".tree-copy.")?.strip_suffix(".tmp")?.split_once('-')?;
    number.parse::<u32>().ok()?;
    process.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_tell_who_made_them_and_others_do_not() {
        let (name, ()) = at_a_free_name(|_| Ok(())).unwrap();
        assert_eq!(maker(&name), Some(std::process::id()));
        for other in [c".tree-copy.tmp", c".tree-copy.1.tmp", c".tree-copy.1-x.tmp", c"tree-copy.1-2.tmp"] {
            assert_eq!(maker(other), None, "{other:?}");
        }
    }

    #[test]
    fn a_name_in_use_is_passed_over() {
        let mut tried = vec![];
        let (name, ()) = at_a_free_name(|name| {
            tried.push(name.clone());
            if tried.len() < 3 { Err(Errno::EXIST) } else { Ok(()) }
        })
        .unwrap();
        assert_eq!(tried.len(), 3);
        assert_eq!(tried.last(), Some(&name));
    }
}
