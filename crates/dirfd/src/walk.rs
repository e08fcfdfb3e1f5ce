//! A walk over a tree in one thread, in the order of names, directories before their content.

use std::ffi::OsStr;
use std::os::fd::{AsFd, BorrowedFd};
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::AtFlags;
use nix::sys::stat::{FileStat, fstatat};

use crate::{FileType, file_type, is_absent, names, open_dir};

/// An entry of the walk.
pub struct Entry<'a> {
    /// Path relative to the root of the walk.
    pub name: &'a Path,
    /// Its directory, open.
    pub directory: BorrowedFd<'a>,
    /// Its name in that directory.
    pub base: &'a OsStr,
    /// Type, owner, mode and times.
    pub stat: FileStat,
}

impl Entry<'_> {
    /// Its type.
    #[must_use]
    pub fn kind(&self) -> FileType {
        file_type(&self.stat)
    }

    /// True if it is a directory.
    #[must_use]
    pub fn is_directory(&self) -> bool {
        self.kind() == FileType::Directory
    }
}

/// Decision of the visitor about an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Descend {
    /// Walk the directory, if it is one.
    Enter,
    /// Continue after the entry.
    Skip,
}

/// Visits everything below `root`. Entries that vanish are skipped, and mounts are not entered.
pub fn walk_tree<E: From<Errno>>(
    root: impl AsFd,
    visit: &mut dyn FnMut(&Entry<'_>) -> Result<Descend, E>,
) -> Result<(), E> {
    below(root.as_fd(), &mut PathBuf::new(), visit)
}

fn below<E: From<Errno>>(
    directory: BorrowedFd<'_>,
    path: &mut PathBuf,
    visit: &mut dyn FnMut(&Entry<'_>) -> Result<Descend, E>,
) -> Result<(), E> {
    let names = match names(directory) {
        // Removed after it was opened; the root must be there.
        Err(error) if is_absent(error) && !path.as_os_str().is_empty() => return Ok(()),
        names => names?,
    };
    for base in names {
        let stat = match fstatat(directory, base.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(Errno::ENOENT | Errno::ENOTDIR) => continue,
            stat => stat?,
        };
        path.push(&base);
        let next = visit(&Entry { name: path, directory, base: &base, stat });
        if next? == Descend::Enter && file_type(&stat) == FileType::Directory {
            match open_dir(directory, base.as_os_str()) {
                Ok(child) => below(child.as_fd(), path, visit)?,
                // Gone, replaced or mounted over meanwhile: the next walk meets what is there then.
                Err(error) if is_absent(error) || error == Errno::EXDEV => {}
                Err(error) => return Err(error.into()),
            }
        }
        path.pop();
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::os::fd::OwnedFd;

    use super::*;

    fn walked(root: &Path, skip: &str) -> Vec<String> {
        let mut names = Vec::new();
        walk_tree::<Errno>(File::open(root).unwrap(), &mut |entry| {
            names.push(entry.name.display().to_string());
            Ok(if entry.base == skip { Descend::Skip } else { Descend::Enter })
        })
        .unwrap();
        names
    }

    #[test]
    fn everything_is_met_once_in_order_and_no_link_is_followed() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("b/c")).unwrap();
        fs::write(dir.path().join("b/c/d"), "").unwrap();
        fs::write(dir.path().join("a"), "").unwrap();
        std::os::unix::fs::symlink("b", dir.path().join("link")).unwrap();
        assert_eq!(walked(dir.path(), ""), ["a", "b", "b/c", "b/c/d", "link"]);
        assert_eq!(walked(dir.path(), "b"), ["a", "b", "link"]);
    }

    #[test]
    fn directories_that_come_and_go_do_not_end_a_walk() {
        let dir = tempfile::tempdir().unwrap();
        let inner = dir.path().join("a/b");
        let ended = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !ended.load(std::sync::atomic::Ordering::Relaxed) {
                    fs::create_dir_all(&inner).unwrap();
                    fs::write(inner.join("c"), "").unwrap();
                    fs::remove_dir_all(dir.path().join("a")).unwrap();
                }
            });
            let walk = || walk_tree(File::open(dir.path()).unwrap(), &mut |_| Ok::<_, Errno>(Descend::Enter));
            let failed = (0..2_000).find_map(|_| walk().err());
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }

    #[test]
    fn paths_that_the_kernel_does_not_take_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        let mut inner = File::open(dir.path()).map(OwnedFd::from).unwrap();
        for _ in 0..30 {
            inner = crate::create_dir(&inner, name.as_str(), 0o755).unwrap().0;
        }
        assert_eq!(walked(dir.path(), "").len(), 30);
    }
}
