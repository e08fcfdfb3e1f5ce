//! Removing a tree.

use std::ffi::{CStr, CString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::stat::Mode;
use nix::unistd::{UnlinkatFlags, unlinkat};

use crate::{ANY_DIRECTORY, Identity, for_each, identity, open_dir, unlink};

/// Removes an entry of a directory with everything below it; returns the number of removed entries, 0 if it is missing.
///
/// No link is followed. At a mount, removal stops with `EXDEV` and the mount keeps its content. If a directory is moved
/// while it is emptied, removal stops with `EBUSY` and touches nothing at the new place.
pub fn remove_all<P: ?Sized + NixPath>(directory: impl AsFd, name: &P) -> nix::Result<u64> {
    match unlink(&directory, name) {
        Ok(removed) => return Ok(u64::from(removed)),
        Err(Errno::EISDIR | Errno::EPERM) => {}
        Err(error) => return Err(error),
    }
    let name = name.with_nix_path(CStr::to_owned)?;
    let mut removal = match Removal::new(directory.as_fd(), &name) {
        // Another process removed it meanwhile.
        Err(Errno::ENOENT) => return Ok(0),
        removal => removal?,
    };
    while !removal.levels.is_empty() {
        removal.step()?;
    }
    Ok(removal.removed)
}

/// A directory that is being emptied from the bottom up.
///
/// Depth costs neither stack nor descriptors, because the way up is `..`. As another process may move a directory, `..`
/// is compared with the directory on the way down.
struct Removal<'a> {
    directory: BorrowedFd<'a>,
    /// Directories from the top down to `here`, inclusive.
    levels: Vec<Level>,
    here: OwnedFd,
    removed: u64,
}

struct Level {
    name: CString,
    identity: Identity,
}

impl<'a> Removal<'a> {
    fn new(directory: BorrowedFd<'a>, name: &CStr) -> nix::Result<Self> {
        let here = open_dir(directory, name)?;
        let level = Level { name: name.to_owned(), identity: identity(&here)? };
        Ok(Self { directory, levels: vec![level], here, removed: 0 })
    }

    /// Empties the present directory and goes up, or goes down into one that is not empty.
    fn step(&mut self) -> nix::Result<()> {
        if let Some(name) = self.empty()? {
            return match open_dir(&self.here, name.as_c_str()) {
                Err(Errno::ENOENT) => Ok(()),
                inner => self.enter(inner?, name),
            };
        }
        let Some(Level { name, .. }) = self.levels.pop() else { return Ok(()) };
        let above = self.above()?;
        match unlinkat(&above, name.as_c_str(), UnlinkatFlags::RemoveDir) {
            Ok(()) => self.removed += 1,
            Err(Errno::ENOENT) => {}
            // Another process created an entry: remove it as well.
            Err(Errno::ENOTEMPTY | Errno::EEXIST) => {
                let again = open_dir(&above, name.as_c_str())?;
                return self.enter(again, name);
            }
            Err(cause) => return Err(cause),
        }
        self.here = above;
        Ok(())
    }

    /// Removes all but full directories from the present directory; returns the first of these.
    fn empty(&mut self) -> nix::Result<Option<CString>> {
        let (here, removed) = (&self.here, &mut self.removed);
        let mut inner = None;
        let listed = for_each(here, |entry| {
            let name = entry.file_name();
            if inner.is_some() {
                return Ok(());
            }
            match unlink(here, name) {
                Ok(went) => *removed += u64::from(went),
                Err(Errno::EISDIR | Errno::EPERM) => match unlinkat(here, name, UnlinkatFlags::RemoveDir) {
                    Ok(()) => *removed += 1,
                    Err(Errno::ENOTEMPTY | Errno::EEXIST) => inner = Some(name.to_owned()),
                    Err(Errno::ENOENT) => {}
                    Err(cause) => return Err(cause),
                },
                Err(cause) => return Err(cause),
            }
            Ok(())
        });
        match listed {
            // The directory went while it was emptied.
            Err(Errno::ENOENT) => Ok(None),
            listed => listed.map(|()| inner),
        }
    }

    fn enter(&mut self, inner: OwnedFd, name: CString) -> nix::Result<()> {
        self.levels.push(Level { name, identity: identity(&inner)? });
        self.here = inner;
        Ok(())
    }

    /// Opens the directory above the present one.
    fn above(&self) -> nix::Result<OwnedFd> {
        let Some(level) = self.levels.last() else {
            return self.directory.try_clone_to_owned().map_err(|_| Errno::EMFILE);
        };
        let above = openat(&self.here, c"..", ANY_DIRECTORY, Mode::empty())?;
        if identity(&above)? == level.identity { Ok(above) } else { Err(Errno::EBUSY) }
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
        assert_eq!(remove_all(&opened, c"tree"), Ok(8));
        assert!(!tree.exists());
        assert!(outside.join("precious").exists());
        assert_eq!(remove_all(&opened, c"tree"), Ok(0));
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
        assert_eq!(end, Err(Errno::EBUSY));
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
            here = crate::create_dir(&here, c"d", 0o700).unwrap().0.into();
        }
        assert_eq!(remove_all(&opened, c"d"), Ok(3000));
        assert_eq!(crate::names(&opened), Ok(vec![]));
    }
}
