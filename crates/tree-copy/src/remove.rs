//! Removing what the source does not have.

use std::collections::HashSet;
use std::ffi::{CStr, CString, OsStr};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom, fstat, openat, seek, unlinkat};
use rustix::io::Errno;

use crate::attributes::Fault;
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
) -> Result<Vec<CString>, Fault> {
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
    })
    .map_err(Fault::Source)?;
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
    })
    .map_err(Fault::Target)?;
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
/// No link is followed. What is mounted below ends it with `EXDEV` and keeps its content; a directory that somebody moves
/// elsewhere while it is emptied ends it with `EBUSY`, and nothing of where it went is touched.
pub fn remove_all(directory: BorrowedFd<'_>, name: &OsStr) -> io::Result<u64> {
    Ok(remove(directory, &CString::new(name.as_bytes())?)?)
}

/// The same for names as the kernel gives them; `BUSY` says that somebody moved a directory away that was being emptied.
pub(crate) fn remove(directory: BorrowedFd<'_>, name: &CStr) -> Result<u64, Errno> {
    match unlinkat(directory, name, AtFlags::empty()) {
        Ok(()) => return Ok(1),
        Err(Errno::NOENT) => return Ok(0),
        Err(Errno::ISDIR | Errno::PERM) => {}
        Err(cause) => return Err(cause),
    }
    let mut removal = match Removal::new(directory, name) {
        // Another process removed it meanwhile.
        Err(Errno::NOENT) => return Ok(0),
        removal => removal?,
    };
    while !removal.levels.is_empty() {
        removal.step()?;
    }
    Ok(removal.removed)
}

/// A directory that is being emptied from the bottom up.
///
/// Depth costs neither stack nor descriptors: the way up is `..`. Whoever moves a directory meanwhile decides where that
/// leads, so it is compared with the directory that the way down came through: nothing is removed anywhere else.
struct Removal<'a> {
    directory: BorrowedFd<'a>,
    /// The way down to `here`, that included.
    levels: Vec<Level>,
    here: OwnedFd,
    removed: u64,
}

struct Level {
    name: CString,
    identity: (u64, u64),
}

impl<'a> Removal<'a> {
    fn new(directory: BorrowedFd<'a>, name: &CStr) -> Result<Self, Errno> {
        let here = open_directory(directory, name)?;
        let level = Level { name: name.to_owned(), identity: identity(&here)? };
        Ok(Self { directory, levels: vec![level], here, removed: 0 })
    }

    /// Empties the present directory and goes up, or goes down into one that is not empty.
    fn step(&mut self) -> Result<(), Errno> {
        if let Some(name) = self.empty()? {
            return match open_directory(self.here.as_fd(), &name) {
                Err(Errno::NOENT) => Ok(()),
                inner => self.enter(inner?, name),
            };
        }
        let Some(Level { name, .. }) = self.levels.pop() else { return Ok(()) };
        let above = self.above()?;
        match unlinkat(&above, &name, AtFlags::REMOVEDIR) {
            Ok(()) => self.removed += 1,
            Err(Errno::NOENT) => {}
            // Somebody put something in: it goes, too.
            Err(Errno::NOTEMPTY | Errno::EXIST) => {
                let again = open_directory(above.as_fd(), &name)?;
                return self.enter(again, name);
            }
            Err(cause) => return Err(cause),
        }
        self.here = above;
        Ok(())
    }

    /// Removes what can be removed from the present directory; returns a directory in it that is not empty, if there is.
    fn empty(&mut self) -> Result<Option<CString>, Errno> {
        let (here, removed) = (&self.here, &mut self.removed);
        let mut inner = None;
        let listed = each_name(here.as_fd(), |name| {
            if inner.is_some() {
                return Ok(());
            }
            match unlinkat(here, name, AtFlags::empty()) {
                Ok(()) => *removed += 1,
                Err(Errno::NOENT) => {}
                Err(Errno::ISDIR | Errno::PERM) => match unlinkat(here, name, AtFlags::REMOVEDIR) {
                    Ok(()) => *removed += 1,
                    Err(Errno::NOTEMPTY | Errno::EXIST) => inner = Some(name.to_owned()),
                    Err(Errno::NOENT) => {}
                    Err(cause) => return Err(cause),
                },
                Err(cause) => return Err(cause),
            }
            Ok(())
        });
        match listed {
            // The directory went while it was emptied.
            Err(Errno::NOENT) => Ok(None),
            listed => listed.map(|()| inner),
        }
    }

    fn enter(&mut self, inner: OwnedFd, name: CString) -> Result<(), Errno> {
        self.levels.push(Level { name, identity: identity(&inner)? });
        self.here = inner;
        Ok(())
    }

    /// The directory that the way down led through before the present one.
    fn above(&self) -> Result<OwnedFd, Errno> {
        let Some(level) = self.levels.last() else {
            return self.directory.try_clone_to_owned().map_err(|_| Errno::MFILE);
        };
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let above = openat(&self.here, c"..", flags, Mode::empty())?;
        if identity(&above)? == level.identity { Ok(above) } else { Err(Errno::BUSY) }
    }
}

/// Device and inode. The number may come back once the directory is gone, but then as one that was made after that.
fn identity(directory: &OwnedFd) -> Result<(u64, u64), Errno> {
    let found = fstat(directory)?;
    Ok((found.st_dev, found.st_ino))
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
    fn nothing_is_removed_where_a_directory_was_moved_to_while_it_was_emptied() {
        let dir = tempfile::tempdir().unwrap();
        let elsewhere = dir.path().join("elsewhere");
        let outer = elsewhere.join("outer");
        for made in [dir.path().join("tree/a/b/c"), outer.clone()] {
            fs::create_dir_all(made).unwrap();
        }
        for precious in [outer.join("precious"), elsewhere.join("precious")] {
            fs::write(precious, "").unwrap();
        }
        fs::write(dir.path().join("tree/a/b/c/file"), "").unwrap();
        let opened = fs::File::open(dir.path()).unwrap();
        let mut removal = Removal::new(opened.as_fd(), c"tree").unwrap();
        while removal.levels.last().unwrap().name.as_c_str() != c"b" {
            removal.step().unwrap();
        }
        fs::rename(dir.path().join("tree/a/b"), outer.join("b")).unwrap();
        let mut end = Ok(());
        while end.is_ok() && !removal.levels.is_empty() {
            end = removal.step();
        }
        assert_eq!(end, Err(Errno::BUSY));
        assert!(outer.join("precious").exists() && elsewhere.join("precious").exists());
        assert!(outer.join("b").exists(), "it is not in the tree any more");
        assert!(dir.path().join("tree/a").exists());
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
