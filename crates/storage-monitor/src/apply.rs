//! The steps, done: by descriptors and names, never through a link, never over something that is not ours.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use dirfd::link_text;
use kit::quote::quoted;
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

use crate::temporary::Temporary;

/// Returns the text of a link to the file of this name in a source directory.
pub fn text(source: &Path, name: &[u8]) -> OsString {
    let mut text = OsString::with_capacity(source.as_os_str().len() + 1 + name.len());
    for part in [source.as_os_str(), OsStr::new("/"), OsStr::from_bytes(name)] {
        text.push(part);
    }
    text
}

/// Makes a link; symlink(2) is atomic and refuses a name that is taken. Says whether the name was free.
pub fn link(directory: impl AsFd, link: &[u8], source: &Path) -> io::Result<bool> {
    match symlinkat(text(source, link).as_os_str(), directory, link) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Replaces our link by another, atomically; says whether it was still ours.
pub fn relink(
    directory: impl AsFd,
    temporary: &Temporary,
    link: &[u8],
    from: &Path,
    to: &Path,
) -> io::Result<bool> {
    let directory = directory.as_fd();
    let (old, new) = (text(from, link), text(to, link));
    let claimed = temporary.claim(|beside| symlinkat(new.as_os_str(), directory, beside))?;
    let beside = claimed.as_os_str();
    match renameat2(directory, beside, directory, link, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) => {
            if link_text(directory, beside)?.is_some_and(|text| text == old) {
                unlinkat(directory, beside, UnlinkatFlags::NoRemoveDir)?;
                return Ok(true);
            }
            // Another process was quicker, and gets it back.
            renameat2(directory, beside, directory, link, RenameFlags::RENAME_EXCHANGE)?;
            remove_link(directory, beside, &new)?;
            Ok(false)
        }
        // File systems that cannot exchange.
        Err(Errno::EINVAL | Errno::ENOSYS) if link_text(directory, link)?.is_some_and(|text| text == old) => {
            renameat(directory, beside, directory, link)?;
            Ok(true)
        }
        Err(error) => {
            remove_link(directory, beside, &new)?;
            if matches!(error, Errno::EINVAL | Errno::ENOSYS | Errno::ENOENT) {
                Ok(false)
            } else {
                Err(error.into())
            }
        }
    }
}

/// Removes a link that we have just made under a temporary name, as long as it is that.
fn remove_link(directory: BorrowedFd<'_>, link: &OsStr, text: &OsStr) -> nix::Result<()> {
    if link_text(directory, link)?.is_some_and(|found| found == text) {
        dirfd::unlink(directory, link)?;
    }
    Ok(())
}

/// Removes what a kill left under our temporary names and leads into this tree, as ours do; says how many links went.
pub fn remove_leftovers(directory: impl AsFd, leftovers: &[Vec<u8>], tree: &Path) -> io::Result<usize> {
    let directory = directory.as_fd();
    let mut removed = 0;
    for leftover in leftovers {
        let text = link_text(directory, leftover.as_slice())?.unwrap_or_default();
        let below = text.as_bytes().strip_prefix(tree.as_os_str().as_bytes());
        if below.is_some_and(|rest| rest.starts_with(b"/")) {
            dirfd::unlink(directory, leftover.as_slice())?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes a link if it still is ours; says whether it was.
///
/// Between a look at a name and its removal, somebody may put a file of theirs there. So the name is taken away first;
/// what was taken cannot be replaced by another, and goes back if it is not ours.
pub fn unlink(directory: impl AsFd, temporary: &Temporary, link: &[u8], source: &Path) -> io::Result<bool> {
    let directory = directory.as_fd();
    let ours = text(source, link);
    if link_text(directory, link)?.is_none_or(|found| found != ours) {
        return Ok(false);
    }
    let take = |taken: &OsStr| renameat2(directory, link, directory, taken, RenameFlags::RENAME_NOREPLACE);
    let taken = match temporary.claim(take) {
        Ok(taken) => taken,
        Err(Errno::ENOENT) => return Ok(false),
        // File systems that cannot, where nothing better is to be had.
        Err(Errno::EINVAL | Errno::ENOSYS) => return Ok(dirfd::unlink(directory, link)?),
        Err(error) => return Err(error.into()),
    };
    if link_text(directory, taken.as_os_str())?.is_some_and(|found| found == ours) {
        return Ok(dirfd::unlink(directory, taken.as_os_str())?);
    }
    match renameat2(directory, taken.as_os_str(), directory, link, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(false),
        Err(error) => Err(io::Error::other(format!(
            "what somebody put there is now {}: {error}",
            quoted(Path::new(&taken))
        ))),
    }
}

/// Removes a directory if it is empty; says whether it is gone.
pub fn remove_directory(parent: impl AsFd, directory: &OsStr) -> nix::Result<bool> {
    match unlinkat(parent, directory, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR | Errno::EBUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;

    use super::*;

    fn ours() -> Temporary {
        Temporary::of("1")
    }

    fn target(path: &Path) -> Option<String> {
        fs::read_link(path).ok().map(|text| text.to_str().unwrap().to_owned())
    }

    #[test]
    fn only_our_own_links_are_replaced_or_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = fs::File::open(folder.path()).unwrap();
        let path = |name: &str| folder.path().join(name);
        let (a, b) = (Path::new("/s/a"), Path::new("/s/b"));
        assert!(link(&directory, b"ours", a).unwrap());
        assert!(!link(&directory, b"ours", b).unwrap());
        assert!(relink(&directory, &ours(), b"ours", a, b).unwrap());
        assert_eq!(target(&path("ours")).unwrap(), "/s/b/ours");
        fs::write(path("file"), "x").unwrap();
        symlink("/elsewhere", path("foreign")).unwrap();
        for name in ["file", "foreign", "absent"] {
            assert!(!relink(&directory, &ours(), name.as_bytes(), a, b).unwrap(), "{name}");
            assert!(!unlink(&directory, &ours(), name.as_bytes(), a).unwrap(), "{name}");
        }
        assert!(!unlink(&directory, &ours(), b"ours", a).unwrap());
        assert_eq!(target(&path("ours")).unwrap(), "/s/b/ours");
        assert!(unlink(&directory, &ours(), b"ours", b).unwrap());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "foreign"]);
    }

    #[test]
    fn what_is_under_a_temporary_name_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let directory = fs::File::open(folder.path()).unwrap();
        let path = |name: &str| folder.path().join(name);
        let (a, b) = (Path::new("/s/a"), Path::new("/s/b"));
        assert!(link(&directory, b"ours", a).unwrap());
        fs::write(path(".storage-monitor.1.0"), "x").unwrap();
        symlink("/elsewhere", path(".storage-monitor.1.1")).unwrap();
        assert!(relink(&directory, &ours(), b"ours", a, b).unwrap());
        assert!(unlink(&directory, &ours(), b"ours", b).unwrap());
        assert!(!relink(&directory, &ours(), b"ours", a, b).unwrap());
        assert_eq!(fs::read_to_string(path(".storage-monitor.1.0")).unwrap(), "x");
        assert_eq!(target(&path(".storage-monitor.1.1")).unwrap(), "/elsewhere");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "and nothing is left");
        symlink("/s/a/x", path(".storage-monitor.1.2")).unwrap();
        let leftovers = [0, 1, 2].map(|number| format!(".storage-monitor.1.{number}").into_bytes());
        assert_eq!(remove_leftovers(&directory, &leftovers, Path::new("/other")).unwrap(), 0);
        assert_eq!(remove_leftovers(&directory, &leftovers, Path::new("/s")).unwrap(), 1);
    }

    #[test]
    fn a_file_that_takes_a_links_place_at_any_moment_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = fs::File::open(folder.path()).unwrap();
        let source = Path::new("/s/a");
        let (file, place) = (folder.path().join("file"), folder.path().join("name"));
        // A user who puts a file there again and again; what was there before may go, the file never.
        let (order, orders) = std::sync::mpsc::channel::<()>();
        let (done, is_done) = std::sync::mpsc::channel();
        let user = {
            let (file, place) = (file.clone(), place.clone());
            std::thread::spawn(move || {
                while orders.recv().is_ok() {
                    fs::rename(&file, &place).unwrap();
                    done.send(()).unwrap();
                }
            })
        };
        for round in 0..3_000 {
            fs::write(&file, "user's").unwrap();
            assert!(link(&directory, b"name", source).unwrap());
            order.send(()).unwrap();
            let _ = unlink(&directory, &ours(), b"name", source);
            is_done.recv().unwrap();
            let kept = [&place, &folder.path().join(".storage-monitor.1.0")]
                .into_iter()
                .filter(|path| fs::read_to_string(path).is_ok_and(|text| text == "user's"))
                .inspect(|path| fs::remove_file(path).unwrap())
                .count();
            assert_eq!(kept, 1, "round {round}");
        }
        drop(order);
        user.join().unwrap();
    }
}
