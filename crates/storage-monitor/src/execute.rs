//! Executes steps on disk, relative to descriptors: never follows a link, and never replaces an entry that is not ours.

use std::ffi::{OsStr, OsString};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use dirfd::read_link;
use kit::privileges::with_file_ids;
use kit::quote::quoted;
use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, fstat, mkdirat};
use nix::unistd::{UnlinkatFlags, symlinkat, unlinkat};

/// Prefix of temporary names.
const TEMPORARY: &[u8] = b".storage-monitor.";
/// Number of temporary names that are tried; more of them in one directory were not made by us.
const MAX_ATTEMPTS: usize = 100;

/// Returns the text of a link to the file of this name in a source directory.
pub fn link_target(source: &Path, name: &[u8]) -> OsString {
    OsString::from_vec([source.as_os_str().as_bytes(), b"/", name].concat())
}

/// Makes a link, and returns false if the name is taken: symlink(2) is atomic and replaces nothing.
pub fn link(directory: impl AsFd, name: &[u8], source: &Path) -> io::Result<bool> {
    match symlinkat(link_target(source, name).as_os_str(), directory, name) {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

/// Replaces our link by another, atomically; returns false if it was not ours any more.
pub fn relink(directory: impl AsFd, name: &[u8], from: &Path, to: &Path) -> io::Result<bool> {
    let directory = directory.as_fd();
    let (old, new) = (link_target(from, name), link_target(to, name));
    let is = |name: &[u8], text: &OsStr| Ok(read_link(directory, name)?.is_some_and(|found| found == text));
    let claimed = claim_temporary_name(|beside| symlinkat(new.as_os_str(), directory, beside))?;
    let beside = claimed.as_bytes();
    let remove_new = || if is(beside, &new)? { dirfd::unlink(directory, beside) } else { Ok(false) };
    match renameat2(directory, beside, directory, name, RenameFlags::RENAME_EXCHANGE) {
        Ok(()) if is(beside, &old)? => {
            unlinkat(directory, beside, UnlinkatFlags::NoRemoveDir)?;
            Ok(true)
        }
        Ok(()) => {
            // Another process replaced the link: restore its entry.
            renameat2(directory, beside, directory, name, RenameFlags::RENAME_EXCHANGE)?;
            remove_new()?;
            Ok(false)
        }
        // Fallback for file systems without RENAME_EXCHANGE.
        Err(Errno::EINVAL | Errno::ENOSYS) if is(name, &old)? => {
            renameat(directory, beside, directory, name)?;
            Ok(true)
        }
        Err(error) => {
            remove_new()?;
            match error {
                Errno::EINVAL | Errno::ENOSYS | Errno::ENOENT => Ok(false),
                error => Err(error.into()),
            }
        }
    }
}

/// Removes our link; returns false if it was not ours any more.
pub fn unlink(directory: impl AsFd, name: &[u8], source: &Path) -> io::Result<bool> {
    let ours = link_target(source, name);
    remove_link(directory, name, |text| text == ours)
}

/// Removes a link whose text is ours.
///
/// Between a check of a name and its removal, another process may create a file there. So the entry is first renamed to a
/// temporary name, where it is checked, and renamed back if it is not ours.
fn remove_link(directory: impl AsFd, name: &[u8], is_ours: impl Fn(&OsStr) -> bool) -> io::Result<bool> {
    let directory = directory.as_fd();
    let is_ours =
        |name: &[u8]| read_link(directory, name).map(|text| text.is_some_and(|text| is_ours(&text)));
    if !is_ours(name)? {
        return Ok(false);
    }
    let take = |taken: &OsStr| renameat2(directory, name, directory, taken, RenameFlags::RENAME_NOREPLACE);
    let taken = match claim_temporary_name(take) {
        Ok(taken) => taken,
        Err(Errno::ENOENT) => return Ok(false),
        // Fallback for file systems without RENAME_NOREPLACE.
        Err(Errno::EINVAL | Errno::ENOSYS) => return Ok(dirfd::unlink(directory, name)?),
        Err(error) => return Err(error.into()),
    };
    if is_ours(taken.as_bytes())? {
        return Ok(dirfd::unlink(directory, taken.as_os_str())?);
    }
    match renameat2(directory, taken.as_os_str(), directory, name, RenameFlags::RENAME_NOREPLACE) {
        Ok(()) => Ok(false),
        Err(error) => Err(io::Error::other(format!(
            "what another process put there is now {}: {error}",
            quoted(Path::new(&taken))
        ))),
    }
}

/// Calls `take` with temporary names until one is free, and returns that name.
///
/// The names contain this container's id, because several containers may work in one directory of a shared volume.
fn claim_temporary_name(mut take: impl FnMut(&OsStr) -> nix::Result<()>) -> nix::Result<OsString> {
    for number in 0..MAX_ATTEMPTS {
        let mut name = OsStr::from_bytes(TEMPORARY).to_owned();
        name.push(format!("{}.{number}", kit::start_id::id()));
        match take(&name) {
            Err(Errno::EEXIST) => {}
            taken => return taken.map(|()| name),
        }
    }
    Err(Errno::EEXIST)
}

/// True for temporary names of any container.
pub fn is_temporary(name: &[u8]) -> bool {
    name.starts_with(TEMPORARY)
}

/// Removes a link under a temporary name that a killed monitor left: it points into this tree and is older than `age`, so
/// no running monitor needs it. A rename sets the ctime, so the age counts from the last step.
pub fn remove_leftover(directory: impl AsFd, name: &[u8], root: &Path, age: Duration) -> io::Result<bool> {
    let directory = directory.as_fd();
    let Some(stat) = dirfd::stat(directory, name)? else { return Ok(false) };
    let changed = UNIX_EPOCH + Duration::from_secs(u64::try_from(stat.st_ctime).unwrap_or_default());
    // A timestamp in the future counts as age 0.
    if SystemTime::now().duration_since(changed).is_ok_and(|is| is >= age) {
        let root = [root.as_os_str().as_bytes(), b"/"].concat();
        return remove_link(directory, name, |text| text.as_bytes().starts_with(&root));
    }
    Ok(false)
}

/// Removes a directory if it is empty; returns whether it is gone.
pub fn remove_directory(parent: impl AsFd, directory: &OsStr) -> nix::Result<bool> {
    match unlinkat(parent, directory, UnlinkatFlags::RemoveDir) {
        Ok(()) | Err(Errno::ENOENT) => Ok(true),
        Err(Errno::ENOTEMPTY | Errno::EEXIST | Errno::ENOTDIR | Errno::EBUSY) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Creates a directory with the owner and mode of its parent, so that applications can write there too; returns false if the
/// name exists. The umask must be 0.
pub fn make_directory(parent: impl AsFd, name: &[u8]) -> io::Result<bool> {
    let parent = parent.as_fd();
    let like = fstat(parent)?;
    let make = || mkdirat(parent, name, Mode::from_bits_truncate(like.st_mode & 0o7777));
    // Created with the owner's ids, without chown: another process may replace the name before that.
    let result = match with_file_ids(like.st_uid, like.st_gid, make)? {
        // Only root may write there.
        Err(Errno::EACCES | Errno::EPERM) => make(),
        result => result,
    };
    match result {
        Ok(()) => Ok(true),
        Err(Errno::EEXIST) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use nix::sys::prctl;
    use nix::unistd::geteuid;

    use super::*;

    fn temporary(number: usize) -> String {
        format!(".storage-monitor.{}.{number}", kit::start_id::id())
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
        let path = |name: &str| folder.path().join(name);
        let (a, b) = (Path::new("/s/a"), Path::new("/s/b"));
        assert!(link(&directory, b"ours", a).unwrap());
        fs::write(path(&temporary(0)), "x").unwrap();
        symlink("/elsewhere", path(&temporary(1))).unwrap();
        assert!(relink(&directory, b"ours", a, b).unwrap());
        assert!(unlink(&directory, b"ours", b).unwrap());
        assert!(!relink(&directory, b"ours", a, b).unwrap());
        assert_eq!(fs::read_to_string(path(&temporary(0))).unwrap(), "x");
        assert_eq!(target(&path(&temporary(1))).unwrap(), "/elsewhere");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 2, "and nothing is left");
        symlink("/s/a/x", path(&temporary(2))).unwrap();
        let removed = |root: &str, age| {
            let all = [0, 1, 2].map(|number| temporary(number).into_bytes());
            all.map(|name| {
                remove_leftover(&directory, &name, Path::new(root), Duration::from_secs(age)).unwrap()
            })
        };
        assert_eq!(
            [removed("/s", 3_600), removed("/other", 0)],
            [[false; 3]; 2],
            "young, and of another tree"
        );
        assert_eq!(removed("/s", 0), [false, false, true]);
        assert_eq!(claim_temporary_name(|_| Err(Errno::EEXIST)), Err(Errno::EEXIST));
        assert_eq!(claim_temporary_name(|_| Err(Errno::EROFS)), Err(Errno::EROFS));
    }

    #[test]
    fn a_file_that_takes_a_links_place_at_any_moment_is_not_removed() {
        let folder = tempfile::tempdir().unwrap();
        let directory = fs::File::open(folder.path()).unwrap();
        let source = Path::new("/s/a");
        let (file, place) = (folder.path().join("file"), folder.path().join("name"));
        // A user who keeps moving a file there; the link may be lost, the file never.
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
            let kept = [&place, &folder.path().join(temporary(0))]
                .into_iter()
                .filter(|path| fs::read_to_string(path).is_ok_and(|text| text == "user's"))
                .inspect(|path| fs::remove_file(path).unwrap())
                .count();
            assert_eq!(kept, 1, "round {round}");
        }
        drop(order);
        user.join().unwrap();
    }

    #[test]
    fn a_directory_belongs_to_whom_the_one_that_holds_it_belongs_to() {
        nix::sys::stat::umask(Mode::empty());
        let folder = tempfile::tempdir().unwrap();
        let owned = |mode| {
            std::os::unix::fs::chown(folder.path(), Some(1_234), Some(4_321)).unwrap();
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(mode)).unwrap();
        };
        let made = |directory: &str| {
            make_directory(fs::File::open(folder.path()).unwrap(), directory.as_bytes()).unwrap();
            let meta = fs::metadata(folder.path().join(directory)).unwrap();
            (meta.uid(), meta.gid(), meta.mode() & 0o7777)
        };
        owned(0o2770);
        assert_eq!(made("one"), (1_234, 4_321, 0o2770));
        owned(0o575);
        assert_eq!(made("two"), (0, 0, 0o575), "where its owner cannot write");
        assert_eq!(prctl::get_dumpable(), Ok(true), "others of root's see that it uses no tree");
        assert_eq!((geteuid().as_raw(), fs::metadata(folder.path()).unwrap().uid()), (0, 1_234));
        fs::write(folder.path().join("still root"), "").unwrap();
    }

    #[test]
    fn a_directory_is_like_the_one_that_holds_it() {
        nix::sys::stat::umask(Mode::empty());
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2777)).unwrap();
        make_directory(fs::File::open(folder.path()).unwrap(), b"new").unwrap();
        assert_eq!(fs::metadata(folder.path().join("new")).unwrap().permissions().mode() & 0o7777, 0o2777);
    }
}
