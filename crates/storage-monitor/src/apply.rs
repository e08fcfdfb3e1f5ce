//! The steps, done: by descriptors and names, never through a link, never over something that is not ours.

use std::ffi::OsStr;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use rustix::fs::{
    AtFlags, Gid, Mode, OFlags, RenameFlags, Uid, fchmod, fchown, fstat, mkdirat, openat, renameat,
    renameat_with, symlinkat, unlinkat,
};
use rustix::io::Errno;

use crate::folder::link_text;

/// A new link has this name until it takes the place of an old one.
pub const TEMPORARY: &[u8] = b".storage-monitor.new";

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
    remove_temporary(directory)?;
    symlinkat(name(&text(to, link)), directory, name(TEMPORARY))?;
    match renameat_with(directory, name(TEMPORARY), directory, name(link), RenameFlags::EXCHANGE) {
        Ok(()) => {
            if link_text(directory, TEMPORARY)?.is_some_and(|text| text == old) {
                unlinkat(directory, name(TEMPORARY), AtFlags::empty())?;
                return Ok(true);
            }
            // Somebody was quicker, and gets it back.
            renameat_with(directory, name(TEMPORARY), directory, name(link), RenameFlags::EXCHANGE)?;
            remove_temporary(directory)?;
            Ok(false)
        }
        // File systems that cannot exchange.
        Err(Errno::INVAL | Errno::NOSYS) if link_text(directory, link)?.is_some_and(|text| text == old) => {
            renameat(directory, name(TEMPORARY), directory, name(link))?;
            Ok(true)
        }
        Err(error) => {
            remove_temporary(directory)?;
            if matches!(error, Errno::INVAL | Errno::NOSYS | Errno::NOENT) {
                Ok(false)
            } else {
                Err(error.into())
            }
        }
    }
}

/// Removes what a kill during [`relink`] left; only a link can be that.
pub fn remove_temporary(directory: BorrowedFd<'_>) -> io::Result<()> {
    if link_text(directory, TEMPORARY)?.is_none() {
        return Ok(());
    }
    absent_is_fine(unlinkat(directory, name(TEMPORARY), AtFlags::empty()))
}

/// Removes what a kill during [`relink`] left if it leads into this tree, as ours do; says whether it did.
pub fn remove_leftover(directory: impl AsFd, tree: &Path) -> io::Result<bool> {
    let directory = directory.as_fd();
    let text = link_text(directory, TEMPORARY)?;
    let ours = text.is_some_and(|text| {
        text.strip_prefix(tree.as_os_str().as_bytes()).is_some_and(|rest| rest.starts_with(b"/"))
    });
    if ours {
        remove_temporary(directory)?;
    }
    Ok(ours)
}

/// Removes a link if it still is ours.
pub fn unlink(directory: impl AsFd, link: &[u8], source: &Path) -> io::Result<()> {
    let directory = directory.as_fd();
    if link_text(directory, link)?.is_none_or(|found| found != text(source, link)) {
        return Ok(());
    }
    absent_is_fine(unlinkat(directory, name(link), AtFlags::empty()))
}

/// Makes a directory with the owner and mode of the one that holds it, so that applications can write there as well.
pub fn make_directory(parent: impl AsFd, directory: &[u8]) -> io::Result<()> {
    let parent = parent.as_fd();
    let like = fstat(parent)?;
    let mode = Mode::from_raw_mode(like.st_mode & 0o7777);
    match mkdirat(parent, name(directory), mode) {
        Err(Errno::EXIST) => return Ok(()),
        other => other?,
    }
    let how = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let new = openat(parent, name(directory), how, Mode::empty())?;
    let is = fstat(&new)?;
    // File systems without owners or modes refuse; then there is nothing that could be wrong.
    if (is.st_uid, is.st_gid) != (like.st_uid, like.st_gid) {
        let _ = fchown(&new, Some(Uid::from_raw(like.st_uid)), Some(Gid::from_raw(like.st_gid)));
    }
    if is.st_mode & 0o7777 != mode.as_raw_mode() {
        let _ = fchmod(&new, mode);
    }
    Ok(())
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
    use std::os::unix::fs::{PermissionsExt, symlink};

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
            unlink(&directory, name.as_bytes(), a).unwrap();
        }
        unlink(&directory, b"ours", a).unwrap();
        assert_eq!(target(&path("ours")).unwrap(), "/s/b/ours");
        unlink(&directory, b"ours", b).unwrap();
        let mut left: Vec<_> =
            fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        left.sort();
        assert_eq!(left, ["file", "foreign"]);
    }

    #[test]
    fn a_directory_is_like_the_one_that_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2777)).unwrap();
        make_directory(fs::File::open(folder.path()).unwrap(), b"new").unwrap();
        assert_eq!(fs::metadata(folder.path().join("new")).unwrap().permissions().mode() & 0o7777, 0o2777);
    }
}
