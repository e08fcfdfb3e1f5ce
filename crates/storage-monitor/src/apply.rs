//! The steps, done: by descriptors and names, never through a link, never over something that is not ours.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use kit::quote::quoted;
use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::folder::link_text;
use crate::temporary::Temporary;

fn name(bytes: &[u8]) -> &OsStr {
    OsStr::from_bytes(bytes)
}

/// The text of a link to the file of this name in a source directory.
pub fn text(source: &Path, name: &[u8]) -> Vec<u8> {
    let source = source.as_os_str().as_bytes();
    let mut text = Vec::with_capacity(source.len() + 1 + name.len());
    text.extend_from_slice(source);
    text.push(b'/');
    text.extend_from_slice(name);
    text
}

/// Makes a link; symlink(2) is atomic and refuses a name that is taken. Says whether the name was free.
pub fn link(directory: impl AsFd, link: &[u8], source: &Path) -> io::Result<bool> {
    match symlinkat(name(&text(source, link)), directory, name(link)) {
        Ok(()) => Ok(true),
        Err(Errno::EXIST) => Ok(false),
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
    let beside = temporary.claim(|beside| symlinkat(name(&new), directory, beside))?;
    match renameat_with(directory, &beside, directory, name(link), RenameFlags::EXCHANGE) {
        Ok(()) => {
            if link_text(directory, beside.as_bytes())?.is_some_and(|text| text == old) {
                unlinkat(directory, &beside, AtFlags::empty())?;
                return Ok(true);
            }
            // Somebody was quicker, and gets it back.
            renameat_with(directory, &beside, directory, name(link), RenameFlags::EXCHANGE)?;
            remove_link(directory, &beside, &new)?;
            Ok(false)
        }
        // File systems that cannot exchange.
        Err(Errno::INVAL | Errno::NOSYS) if link_text(directory, link)?.is_some_and(|text| text == old) => {
            renameat(directory, &beside, directory, name(link))?;
            Ok(true)
        }
        Err(error) => {
            remove_link(directory, &beside, &new)?;
            if matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOENT) {
                Ok(false)
            } else {
                Err(error.into())
            }
        }
    }
}

/// Removes a link that we have just made under a temporary name, as long as it is that.
fn remove_link(directory: BorrowedFd<'_>, link: &OsStr, text: &[u8]) -> io::Result<()> {
    if link_text(directory, link.as_bytes())?.is_none_or(|found| found != text) {
        return Ok(());
    }
    absent_is_fine(unlinkat(directory, link, AtFlags::empty()))
}

/// Removes what a kill left under our temporary names and leads into this tree, as ours do; says how many links went.
pub fn remove_leftovers(directory: impl AsFd, leftovers: &[Vec<u8>], tree: &Path) -> io::Result<usize> {
    let directory = directory.as_fd();
    let mut removed = 0;
    for leftover in leftovers {
        let text = link_text(directory, leftover)?;
        let below = |text: &[u8]| text.strip_prefix(tree.as_os_str().as_bytes()).map(<[u8]>::to_vec);
        if text.as_deref().and_then(below).is_some_and(|rest| rest.starts_with(b"/")) {
            absent_is_fine(unlinkat(directory, name(leftover), AtFlags::empty()))?;
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
    let gone = |result: rustix::io::Result<()>| match result {
        Ok(()) => Ok(true),
        Err(Errno::NOENT) => Ok(false),
        Err(error) => Err(io::Error::from(error)),
    };
    let take = |taken: &OsStr| renameat_with(directory, name(link), directory, taken, RenameFlags::NOREPLACE);
    let taken = match temporary.claim(take) {
        Ok(taken) => taken,
        Err(Errno::NOENT) => return Ok(false),
        // File systems that cannot, where nothing better is to be had.
        Err(Errno::INVAL | Errno::NOSYS) => {
            return gone(unlinkat(directory, name(link), AtFlags::empty()));
        }
        Err(error) => return Err(error.into()),
    };
    if link_text(directory, taken.as_bytes())?.is_some_and(|found| found == ours) {
        return gone(unlinkat(directory, &taken, AtFlags::empty()));
    }
    match renameat_with(directory, &taken, directory, name(link), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(false),
        Err(error) => Err(io::Error::other(format!(
            "what somebody put there is now {}: {error}",
            quoted(Path::new(&taken))
        ))),
    }
}

/// Removes a directory if it is empty; says whether it is gone.
pub fn remove_directory(parent: impl AsFd, directory: &OsStr) -> io::Result<bool> {
    match unlinkat(parent, directory, AtFlags::REMOVEDIR) {
        Ok(()) | Err(Errno::NOENT) => Ok(true),
        Err(Errno::NOTEMPTY | Errno::EXIST | Errno::NOTDIR | Errno::BUSY) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn absent_is_fine(result: rustix::io::Result<()>) -> io::Result<()> {
    match result {
        Err(Errno::NOENT) => Ok(()),
        other => Ok(other?),
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
