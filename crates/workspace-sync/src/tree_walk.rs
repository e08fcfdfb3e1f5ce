//! A walk over a tree by directory descriptors: no link is followed, whatever programs do to the tree meanwhile, and
//! paths may be longer than the kernel takes.

use std::ffi::{OsStr, OsString};
use std::io;
use std::ops::RangeBounds;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

use anyhow::Context;
use nix::dir::Dir;
use nix::fcntl::{AtFlags, OFlag};
use nix::sys::stat::{FileStat, Mode, SFlag, fstat, fstatat};

use crate::open_beneath;
use crate::volume_clock::Timestamp;

const DIRECTORY: OFlag =
    OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_NOFOLLOW).union(OFlag::O_CLOEXEC);

/// One entry, where it was met.
pub struct Entry<'a> {
    /// Its path relative to the root of the walk; empty for the root itself.
    pub name: &'a Path,
    /// The directory it is in.
    pub directory: BorrowedFd<'a>,
    /// Its name there.
    pub base: &'a OsStr,
    /// Its state when it was met.
    pub stat: FileStat,
}

impl Entry<'_> {
    /// Returns the kind of the entry.
    pub fn kind(&self) -> SFlag {
        kind(&self.stat)
    }

    /// Returns whether it is a directory.
    pub fn is_directory(&self) -> bool {
        self.kind() == SFlag::S_IFDIR
    }

    /// Returns the time of the last write to its content, or the one that a program set.
    pub fn modified(&self) -> Timestamp {
        Timestamp(self.stat.st_mtime, self.stat.st_mtime_nsec)
    }

    /// Returns the change time of its inode.
    pub fn changed(&self) -> Timestamp {
        Timestamp(self.stat.st_ctime, self.stat.st_ctime_nsec)
    }
}

/// Decides if a walk goes on below a directory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Next {
    /// With what is in it.
    Enter,
    /// With what comes after it.
    Skip,
}

/// Returns the kind of the entry with this state.
pub fn kind(stat: &FileStat) -> SFlag {
    SFlag::from_bits_truncate(stat.st_mode & SFlag::S_IFMT.bits())
}

/// Visits everything below `root`, in the order of names, directories before their content. What vanishes is passed
/// over, what is mounted below is not entered.
pub fn each<E: From<io::Error>>(
    root: impl AsFd,
    visit: &mut dyn FnMut(&Entry<'_>) -> Result<Next, E>,
) -> Result<(), E> {
    below(root.as_fd(), &mut PathBuf::new(), visit)
}

fn below<E: From<io::Error>>(
    directory: BorrowedFd<'_>,
    path: &mut PathBuf,
    visit: &mut dyn FnMut(&Entry<'_>) -> Result<Next, E>,
) -> Result<(), E> {
    let names = match names(directory) {
        // Removed after it was opened; the root must be there.
        Err(error) if is_elsewhere(&error) && !path.as_os_str().is_empty() => return Ok(()),
        names => names?,
    };
    for base in names {
        let stat = match fstatat(directory, base.as_os_str(), AtFlags::AT_SYMLINK_NOFOLLOW) {
            Err(nix::Error::ENOENT | nix::Error::ENOTDIR) => continue,
            stat => stat.map_err(io::Error::from)?,
        };
        path.push(&base);
        let next = visit(&Entry { name: path, directory, base: &base, stat });
        if next? == Next::Enter && kind(&stat) == SFlag::S_IFDIR {
            match open(directory, &base) {
                Ok(child) => below(child.as_fd(), path, visit)?,
                // Gone, or something else by now: the next look sees it.
                Err(error) if is_elsewhere(&error) || is_mount(&error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        path.pop();
    }
    Ok(())
}

/// Returns an entry of the tree at `root`, or `root` itself, that changed in this period: a file rather than a
/// directory.
pub fn changed(root: &Path, period: impl RangeBounds<Timestamp>) -> anyhow::Result<Option<PathBuf>> {
    let opened = open_beneath::open_root(root)?;
    let stat = fstat(&opened).map_err(io::Error::from)?;
    let mut found = period.contains(&Timestamp(stat.st_ctime, stat.st_ctime_nsec)).then(|| root.to_owned());
    let mut is_file = false;
    each::<io::Error>(opened, &mut |entry| {
        let is_better = !is_file && (found.is_none() || !entry.is_directory());
        if is_better && period.contains(&entry.changed()) {
            found = Some(root.join(entry.name));
            is_file = !entry.is_directory();
        }
        Ok(if is_file { Next::Skip } else { Next::Enter })
    })
    .with_context(|| format!("cannot read {}", root.display()))?;
    Ok(found)
}

/// Opens a directory in another; fails with `EXDEV` where something is mounted.
pub fn open(directory: impl AsFd, base: &OsStr) -> io::Result<OwnedFd> {
    Ok(dirfd::open_dir(directory, base)?)
}

/// Opens a directory below another; fails with `EXDEV` where something is mounted on the way.
pub fn open_below(root: impl AsFd, name: &Path) -> io::Result<OwnedFd> {
    let root = root.as_fd().try_clone_to_owned()?;
    name.iter().try_fold(root, open)
}

/// Returns whether an error of [`open`] means that something is mounted there.
pub fn is_mount(error: &io::Error) -> bool {
    error.raw_os_error() == Some(nix::libc::EXDEV)
}

/// Returns whether an error of [`open`] means that there is no such directory.
pub fn is_elsewhere(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(nix::libc::ENOENT | nix::libc::ENOTDIR | nix::libc::ELOOP))
}

/// The names in a directory, in their order.
pub fn names(directory: impl AsFd) -> io::Result<Vec<OsString>> {
    // A descriptor of its own, because the position of a listing belongs to the descriptor.
    let mut listing = Dir::openat(directory, ".", DIRECTORY, Mode::empty())?;
    let mut found = Vec::new();
    for entry in listing.iter() {
        let name = entry?.file_name().to_bytes().to_vec();
        if name != b"." && name != b".." {
            found.push(OsString::from_vec(name));
        }
    }
    found.sort_unstable_by(|one, other| one.as_bytes().cmp(other.as_bytes()));
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    fn walked(root: &Path, skip: &str) -> Vec<String> {
        let mut names = Vec::new();
        each::<io::Error>(File::open(root).unwrap(), &mut |entry| {
            names.push(entry.name.display().to_string());
            Ok(if entry.base == skip { Next::Skip } else { Next::Enter })
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
            let walk = || each(File::open(dir.path()).unwrap(), &mut |_| Ok::<_, io::Error>(Next::Enter));
            let failed = (0..2_000).find_map(|_| walk().err());
            ended.store(true, std::sync::atomic::Ordering::Relaxed);
            assert!(failed.is_none(), "{failed:?}");
        });
    }

    #[test]
    fn a_change_anywhere_is_seen() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("a")).unwrap();
        fs::write(dir.path().join("a/file"), "").unwrap();
        let stamp = |path: &Path| Timestamp::changed(&path.symlink_metadata().unwrap());
        let file = dir.path().join("a/file");
        let latest = stamp(&file).max(stamp(dir.path()));
        assert_eq!(changed(dir.path(), stamp(&file)..).unwrap(), Some(file));
        assert_eq!(changed(dir.path(), Timestamp(latest.0 + 1, 0)..).unwrap(), None);
        assert_eq!(
            changed(dir.path(), Timestamp(0, 0)..=Timestamp(1, 0)).unwrap(),
            None,
            "the clock was set back"
        );
        assert!(changed(&dir.path().join("missing"), latest..).is_err());
    }

    #[test]
    fn paths_that_the_kernel_does_not_take_are_walked() {
        let dir = tempfile::tempdir().unwrap();
        let name = "n".repeat(200);
        let mut inner = fs::File::open(dir.path()).map(OwnedFd::from).unwrap();
        for _ in 0..30 {
            nix::sys::stat::mkdirat(&inner, name.as_str(), Mode::from_bits_truncate(0o755)).unwrap();
            inner = open(&inner, OsStr::new(&name)).unwrap();
        }
        assert_eq!(walked(dir.path(), "").len(), 30);
    }
}
