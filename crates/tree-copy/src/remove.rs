//! Removing what the source does not have.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, openat, seek, unlinkat};
use rustix::io::Errno;

use crate::folder::open_directory;

/// The names in an open directory, `.` and `..` left out, given to `each` one after another.
pub(crate) fn each_name(
    directory: BorrowedFd<'_>,
    mut each: impl FnMut(&CStr) -> Result<(), Errno>,
) -> Result<(), Errno> {
    seek(directory, SeekFrom::Start(0))?;
    let mut space = [MaybeUninit::uninit(); 16 * 1024];
    let mut listing = RawDir::new(directory, &mut space);
    while let Some(entry) = listing.next() {
        let entry = entry?;
        if !matches!(entry.file_name().to_bytes(), b"." | b"..") {
            each(entry.file_name())?;
        }
    }
    Ok(())
}

/// How many names an open directory has.
pub(crate) fn count(directory: BorrowedFd<'_>, counts: impl Fn(&CStr) -> bool) -> Result<u64, Errno> {
    let mut number = 0;
    each_name(directory, |name| {
        number += u64::from(counts(name));
        Ok(())
    })?;
    Ok(number)
}

/// The names of `target` that `source` does not have, a limited number at a time.
pub(crate) fn surplus(
    source: BorrowedFd<'_>,
    target: BorrowedFd<'_>,
    keep: impl Fn(&CStr) -> bool,
) -> Result<Vec<CString>, Errno> {
    /// More than that are asked for one by one, so that a huge directory takes no memory.
    const REMEMBERED: usize = 20_000;
    let mut known: Option<HashSet<CString>> = Some(HashSet::new());
    each_name(source, |name| {
        if let Some(names) = &mut known {
            names.insert(name.to_owned());
            if names.len() > REMEMBERED {
                known = None;
            }
        }
        Ok(())
    })?;
    let mut surplus = vec![];
    each_name(target, |name| {
        let wanted = match &known {
            Some(names) => names.contains(name),
            None => exists(source, name)?,
        };
        if !wanted && !keep(name) && surplus.len() < REMEMBERED {
            surplus.push(name.to_owned());
        }
        Ok(())
    })?;
    Ok(surplus)
}

fn exists(directory: BorrowedFd<'_>, name: &CStr) -> Result<bool, Errno> {
    match rustix::fs::statat(directory, name, AtFlags::SYMLINK_NOFOLLOW) {
        Ok(_) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(cause) => Err(cause),
    }
}

/// Removes an entry of a directory with everything below it; returns how many entries that were, none if it is not there.
///
/// No link is followed. What is mounted below ends it with `EXDEV` and keeps its content.
pub fn remove_all(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<u64> {
    Ok(remove(directory, &CString::new(name.as_bytes())?)?)
}

/// The same for names as the kernel gives them.
///
/// Nothing is followed, and what is mounted below ends it with `EXDEV`. Depth costs neither stack nor descriptors:
/// the way up is `..`, and who moves a directory away meanwhile gets an error, because `rmdir` from there finds
/// nothing of that name.
pub(crate) fn remove(directory: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => return Ok(1),
        Err(Errno::NOENT) => return Ok(0),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(cause) => return Err(cause),
    }
    let mut removed = 0;
    let mut names = vec![name.to_owned()];
    let mut here = open_directory(directory, name)?;
    loop {
        let mut inner = None;
        each_name(here.as_fd(), |name| {
            if inner.is_some() {
                return Ok(());
            }
            match unlinkat(&here, name, AtFlags::empty()) {
                Ok(()) => removed += 1,
                Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => match unlinkat(&here, name, AtFlags::REMOVEDIR) {
                    Ok(()) => removed += 1,
                    Err(Errno::NOTEMPTY | Errno::EXIST) => inner = Some(name.to_owned()),
                    Err(Errno::NOENT) => {}
                    Err(cause) => return Err(cause),
                },
                Err(cause) => return Err(cause),
            }
            Ok(())
        })?;
        if let Some(name) = inner {
            here = open_directory(here.as_fd(), &name)?;
            names.push(name);
            continue;
        }
        let Some(name) = names.pop() else { return Ok(removed) };
        let above = if names.is_empty() {
            directory.try_clone_to_owned().map_err(|_| Errno::MFILE)?
        } else {
            openat(&here, c"..", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?
        };
        match unlinkat(&above, &name, AtFlags::REMOVEDIR) {
            Ok(()) => removed += 1,
            Err(Errno::NOENT) => {}
            // Somebody put something in: it goes, too.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                here = open_directory(above.as_fd(), &name)?;
                names.push(name);
                continue;
            }
            Err(cause) => return Err(cause),
        }
        if names.is_empty() {
            return Ok(removed);
        }
        here = above;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn a_tree_goes_and_what_its_links_lead_to_stays() {
        let dir = tempfile::tempdir().unwrap();
        let outside = dir.path().join("outside");
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("precious"), "").unwrap();
        let tree = dir.path().join("tree");
        fs::create_dir_all(tree.join("a/b/c")).unwrap();
        fs::create_dir_all(tree.join("a/d")).unwrap();
        fs::write(tree.join("a/b/file"), "").unwrap();
        fs::write(tree.join("a/d/file"), "").unwrap();
        symlink(&outside, tree.join("a/b/c/link")).unwrap();
        let opened = fs::File::open(dir.path()).unwrap();
        assert_eq!(remove(opened.as_fd(), c"tree"), Ok(8));
        assert!(!tree.exists());
        assert!(outside.join("precious").exists());
        assert_eq!(remove(opened.as_fd(), c"tree"), Ok(0));
    }

    #[test]
    fn depth_needs_no_descriptors() {
        let dir = tempfile::tempdir().unwrap();
        let opened = fs::File::open(dir.path()).unwrap();
        let mut here = opened.try_clone().unwrap();
        for _ in 0..3000 {
            rustix::fs::mkdirat(&here, c"d", Mode::RWXU).unwrap();
            here = open_directory(here.as_fd(), c"d").unwrap().into();
        }
        assert_eq!(remove(opened.as_fd(), c"d"), Ok(3000));
        assert_eq!(count(opened.as_fd(), |_| true), Ok(0));
    }
}
