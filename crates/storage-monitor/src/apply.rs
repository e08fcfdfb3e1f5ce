//! The steps, done: by descriptors and names, never through a link, never over something that is not ours.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{AtFlags, RenameFlags, renameat, renameat_with, symlinkat, unlinkat};
use rustix::io::Errno;

use crate::folder::link_text;

/// A new link has this name until it takes the place of an old one.
const NEW: &[u8] = b".storage-monitor.new";
/// An old link has this name until it is known to be ours, and goes.
const TAKEN: &[u8] = b".storage-monitor.taken";

/// Whether one of our links may have this name for a moment.
pub fn is_temporary(name: &[u8]) -> bool {
    [NEW, TAKEN].contains(&name)
}

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
pub fn relink(directory: impl AsFd, link: &[u8], from: &Path, to: &Path) -> io::Result<bool> {
    let directory = directory.as_fd();
    let old = text(from, link);
    remove_new(directory)?;
    symlinkat(name(&text(to, link)), directory, name(NEW))?;
    match renameat_with(directory, name(NEW), directory, name(link), RenameFlags::EXCHANGE) {
        Ok(()) => {
            if link_text(directory, NEW)?.is_some_and(|text| text == old) {
                unlinkat(directory, name(NEW), AtFlags::empty())?;
                return Ok(true);
            }
            // Somebody was quicker, and gets it back.
            renameat_with(directory, name(NEW), directory, name(link), RenameFlags::EXCHANGE)?;
            remove_new(directory)?;
            Ok(false)
        }
        // File systems that cannot exchange.
        Err(Errno::INVAL | Errno::NOSYS) if link_text(directory, link)?.is_some_and(|text| text == old) => {
            renameat(directory, name(NEW), directory, name(link))?;
            Ok(true)
        }
        Err(error) => {
            remove_new(directory)?;
            if matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOENT) {
                Ok(false)
            } else {
                Err(error.into())
            }
        }
    }
}

/// Removes what [`relink`] has made; only a link can be that.
fn remove_new(directory: BorrowedFd<'_>) -> io::Result<()> {
    if link_text(directory, NEW)?.is_none() {
        return Ok(());
    }
    absent_is_fine(unlinkat(directory, name(NEW), AtFlags::empty()))
}

/// Removes what a kill left under a temporary name and leads into this tree, as ours do; says how many links went.
pub fn remove_leftovers(directory: impl AsFd, tree: &Path) -> io::Result<usize> {
    let directory = directory.as_fd();
    let mut removed = 0;
    for temporary in [NEW, TAKEN] {
        let text = link_text(directory, temporary)?;
        let below = |text: &[u8]| text.strip_prefix(tree.as_os_str().as_bytes()).map(<[u8]>::to_vec);
        if text.as_deref().and_then(below).is_some_and(|rest| rest.starts_with(b"/")) {
            absent_is_fine(unlinkat(directory, name(temporary), AtFlags::empty()))?;
            removed += 1;
        }
    }
    Ok(removed)
}

/// Removes a link if it still is ours; says whether it was.
///
/// Between a look at a name and its removal, somebody may put a file of theirs there. So the name is taken away first;
/// what was taken cannot be replaced by another, and goes back if it is not ours.
pub fn unlink(directory: impl AsFd, link: &[u8], source: &Path) -> io::Result<bool> {
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
    match renameat_with(directory, name(link), directory, name(TAKEN), RenameFlags::NOREPLACE) {
        Ok(()) => {}
        Err(Errno::NOENT) => return Ok(false),
        // File systems that cannot, where nothing better is to be had.
        Err(Errno::INVAL | Errno::NOSYS) => {
            return gone(unlinkat(directory, name(link), AtFlags::empty()));
        }
        Err(Errno::EXIST) => {
            return Err(io::Error::other(format!("{} is in the way", String::from_utf8_lossy(TAKEN))));
        }
        Err(error) => return Err(error.into()),
    }
    if link_text(directory, TAKEN)?.is_some_and(|found| found == ours) {
        return gone(unlinkat(directory, name(TAKEN), AtFlags::empty()));
    }
    match renameat_with(directory, name(TAKEN), directory, name(link), RenameFlags::NOREPLACE) {
        Ok(()) => Ok(false),
        Err(error) => Err(io::Error::other(format!(
            "what somebody put there is now {}: {error}",
            String::from_utf8_lossy(TAKEN)
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
        assert!(relink(&directory, b"ours", a, b).unwrap());
        assert_eq!(target(&path("ours")).unwrap(), "/s/b/ours");
        fs::write(path("file"), "x").unwrap();
        symlink("/elsewhere", path("foreign")).unwrap();
        for name in ["file", "foreign", "absent"] {
            assert!(!relink(&directory, name.as_bytes(), a, b).unwrap(), "{name}");
            assert!(!unlink(&directory, name.as_bytes(), a).unwrap(), "{name}");
        }
        assert!(!unlink(&directory, b"ours", a).unwrap());
        assert_eq!(target(&path("ours")).unwrap(), "/s/b/ours");
        assert!(unlink(&directory, b"ours", b).unwrap());
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "foreign"]);
    }

    #[test]
    fn what_is_under_a_temporary_name_is_never_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let directory = fs::File::open(folder.path()).unwrap();
        let source = Path::new("/s/a");
        assert!(link(&directory, b"ours", source).unwrap());
        fs::write(folder.path().join(".storage-monitor.taken"), "x").unwrap();
        let error = unlink(&directory, b"ours", source).unwrap_err().to_string();
        assert_eq!(error, ".storage-monitor.taken is in the way");
        assert_eq!(target(&folder.path().join("ours")).unwrap(), "/s/a/ours");
        assert_eq!(fs::read_to_string(folder.path().join(".storage-monitor.taken")).unwrap(), "x");
        for name in [".storage-monitor.new", "/.storage-monitor.taken"] {
            let path = folder.path().join(name.trim_start_matches('/'));
            let _ = fs::remove_file(&path);
            symlink("/s/a/x", path).unwrap();
        }
        assert_eq!(remove_leftovers(&directory, Path::new("/other")).unwrap(), 0);
        assert_eq!(remove_leftovers(&directory, Path::new("/s")).unwrap(), 2);
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
            let _ = unlink(&directory, b"name", source);
            is_done.recv().unwrap();
            let kept = [&place, &folder.path().join(".storage-monitor.taken")]
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
