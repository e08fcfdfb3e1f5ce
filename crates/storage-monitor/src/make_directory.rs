//! New directories among those of applications, which may belong to users.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use nix::errno::Errno;
use nix::fcntl::openat;
use nix::sys::prctl;
use nix::sys::stat::{FileStat, Mode, fchmod, fstat, mkdirat};
use nix::unistd::{Gid, Uid, getegid, geteuid, setfsgid, setfsuid};

use crate::listing::each;

/// Makes a directory with the owner and mode of the one that holds it, so that applications can write there as well.
pub fn make_directory(parent: impl AsFd, directory: &[u8]) -> io::Result<()> {
    let parent = parent.as_fd();
    let like = fstat(parent)?;
    let mode = Mode::from_bits_truncate(like.st_mode & 0o7777);
    let make = || mkdirat(parent, directory, mode);
    // Made by its owner, and not given away: what has the name a moment later may be something else.
    let result = match on_behalf(like.st_uid, like.st_gid, make) {
        // The owner may not write there, and root may.
        Err(Errno::EACCES | Errno::EPERM) => make(),
        result => result,
    };
    match result {
        Err(Errno::EEXIST) => return Ok(()),
        other => other?,
    }
    widen(parent, directory, &like)
}

/// Gives a new directory the mode of the one that holds it, of which the umask has taken something.
///
/// Whoever may write there may have put another directory in its place. So only what is as one just made gets the mode:
/// empty, of the same owner and group, and with all of the mode but what a umask takes. Of such a one, nothing is given
/// away that its place does not give away.
fn widen(parent: BorrowedFd<'_>, directory: &[u8], like: &FileStat) -> io::Result<()> {
    let Ok(new) = openat(parent, directory, dirfd::DIRECTORY, Mode::empty()) else { return Ok(()) };
    let is = fstat(&new)?;
    let wanted = like.st_mode & 0o7777;
    let as_made = is.st_mode & 0o7777 == wanted & !umask();
    if !as_made || (is.st_uid, is.st_gid) != (like.st_uid, like.st_gid) {
        return Ok(());
    }
    let mut empty = true;
    each(&new, |_, _| {
        empty = false;
        Ok(())
    })?;
    if empty {
        // File systems without modes refuse; then there is nothing that could be wrong.
        let _ = fchmod(&new, Mode::from_bits_truncate(wanted));
    }
    Ok(())
}

/// Our umask: proc(5) tells it, while umask(2) would change it for all threads.
fn umask() -> u32 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let told = status.lines().find_map(|line| line.strip_prefix("Umask:"));
    told.and_then(|mask| u32::from_str_radix(mask.trim(), 8).ok()).unwrap_or(0o022)
}

/// Does something in files with another user's and group's rights and name, if we are root; this thread alone changes.
fn on_behalf<T>(user: u32, group: u32, act: impl FnOnce() -> T) -> T {
    struct Back(Uid, Gid);
    impl Drop for Back {
        fn drop(&mut self) {
            setfsuid(self.0);
            setfsgid(self.1);
            // The kernel took it away with the change (prctl(2), PR_SET_DUMPABLE), and so hides from root what this
            // process has open: workspace-sync would have to take it for a writer of every tree. Only root may look, as before.
            if let Err(error) = prctl::set_dumpable(true) {
                log::debug!("cannot show open files to root: {error}");
            }
        }
    }
    let (own, own_group) = (geteuid(), getegid());
    if !own.is_root() || (user, group) == (own.as_raw(), own_group.as_raw()) {
        return act();
    }
    let _back = Back(own, own_group);
    // The group first: afterwards we may not.
    setfsgid(Gid::from_raw(group));
    setfsuid(Uid::from_raw(user));
    act()
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt};

    use super::*;

    #[test]
    fn a_directory_belongs_to_whom_the_one_that_holds_it_belongs_to() {
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
        assert_eq!(made("two"), (0, 0, 0o555), "where its owner cannot write");
        assert_eq!(prctl::get_dumpable(), Ok(true), "others of root's see that it uses no tree");
        assert_eq!((geteuid().as_raw(), fs::metadata(folder.path()).unwrap().uid()), (0, 1_234));
        fs::write(folder.path().join("still root"), "").unwrap();
    }

    #[test]
    fn another_directory_in_the_place_of_a_new_one_keeps_its_mode() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2775)).unwrap();
        let parent = fs::File::open(folder.path()).unwrap();
        let like = fstat(&parent).unwrap();
        let cut = 0o2775 & !umask();
        for (name, mode, full, group) in [
            ("private", 0o2700, false, like.st_gid),
            ("full", cut, true, like.st_gid),
            ("of another group", cut, false, 4_321),
            ("new", cut, false, like.st_gid),
        ] {
            let path = folder.path().join(name);
            fs::create_dir(&path).unwrap();
            if full {
                fs::write(path.join("x"), "").unwrap();
            }
            std::os::unix::fs::chown(&path, None, Some(group)).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).unwrap();
            widen(parent.as_fd(), name.as_bytes(), &like).unwrap();
            let expected = if name == "new" { 0o2775 } else { mode };
            assert_eq!(fs::metadata(&path).unwrap().mode() & 0o7777, expected, "{name}");
        }
    }

    #[test]
    fn a_directory_is_like_the_one_that_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o2777)).unwrap();
        make_directory(fs::File::open(folder.path()).unwrap(), b"new").unwrap();
        assert_eq!(fs::metadata(folder.path().join("new")).unwrap().permissions().mode() & 0o7777, 0o2777);
    }
}
