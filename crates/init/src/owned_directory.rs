//! Directories and files of accounts in trees that users can write.
//!
//! Everything happens below an open directory and never through a link (see [`dirfd`]), so an existing link or a rename
//! cannot redirect root.

use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::fd::{AsFd, OwnedFd};

use dirfd::FileType;
use kit::account_db::Ids;
use kit::privileges::as_account;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat, fstatat};
use nix::unistd::{AccessFlags, Gid, Uid, faccessat, fchown};

/// Opens the directory `name`, made for `ids` with `mode` if it is missing.
///
/// An existing directory is kept, unless it is empty and owned by root, as an interrupted start leaves it. A file system
/// that cannot change owners or modes is not an error; [`may`] shows the result.
pub fn make(parent: impl AsFd, name: &OsStr, ids: Ids, mode: u32) -> io::Result<OwnedFd> {
    let (directory, is_new) = dirfd::create_dir(parent, name, 0o700)?;
    if is_new || (fstat(&directory)?.st_uid == 0 && dirfd::names(&directory)?.is_empty()) {
        give(&directory, ids, mode)?;
    }
    Ok(directory)
}

/// Puts a file of this content into a directory, all at once, for `ids`.
pub fn place_file(directory: impl AsFd, name: &OsStr, content: &[u8], ids: Ids, mode: u32) -> io::Result<()> {
    let mut temporary = OsString::from(".");
    temporary.push(name);
    temporary.push(".leonardo-tmp");
    let temporary = temporary.as_os_str();
    let mut file = dirfd::create_file(&directory, temporary, 0o400)?;
    let placed = file
        .write_all(content)
        .and_then(|()| give(&file, ids, mode))
        .and_then(|()| Ok(renameat(&directory, temporary, &directory, name)?));
    placed.inspect_err(|_| {
        let _ = dirfd::unlink(&directory, temporary);
    })
}

/// Takes from the group and from others what they have of this file or directory of `owner`'s.
///
/// An entry of another account is left alone.
pub fn make_private(directory: impl AsFd, name: &OsStr, owner: u32) -> io::Result<()> {
    let stat = fstatat(&directory, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
    let is_plain = matches!(dirfd::file_type(&stat), FileType::RegularFile | FileType::Directory);
    if is_plain && stat.st_uid == owner && stat.st_mode & 0o077 != 0 {
        let mode = Mode::from_bits_truncate(stat.st_mode & 0o700);
        tolerate(fchmodat(&directory, name, mode, FchmodatFlags::NoFollowSymlink))?;
    }
    Ok(())
}

/// True if the modes alone let an account do everything with a directory (`path_resolution(7)`: the first class that fits).
pub fn is_open_by_mode(stat: &FileStat, ids: Ids) -> bool {
    let class = match (stat.st_uid == ids.uid, stat.st_gid == ids.gid) {
        (true, _) => stat.st_mode >> 6,
        (false, true) => stat.st_mode >> 3,
        (false, false) => stat.st_mode,
    };
    class & 0o7 == 0o7
}

/// True if an account has these rights to a directory, tested as the account, because ACLs and network volumes decide too.
/// Also true if no process can become the account, which is reported as a missing capability.
pub fn may(rights: AccessFlags, directory: impl AsFd, ids: Ids, groups: &[u32]) -> bool {
    let directory = directory.as_fd();
    let may = || faccessat(directory, ".", rights, AtFlags::empty()).is_ok();
    as_account(ids.uid, ids.gid, groups, may).unwrap_or(true)
}

fn give(file: impl AsFd, ids: Ids, mode: u32) -> io::Result<()> {
    tolerate(fchown(&file, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid))))?;
    tolerate(fchmod(file, Mode::from_bits_truncate(mode)))
}

/// Accepts the errors of file systems that have no owners or modes of their own, or do not let us change them.
fn tolerate(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::EPERM | Errno::EACCES | Errno::ENOTSUP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};

    use super::*;

    fn own() -> Ids {
        Ids { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    #[test]
    fn a_link_is_neither_opened_nor_changed_nor_written_through() {
        let dir = tempfile::tempdir().unwrap();
        let (elsewhere, here) = (dir.path().join("elsewhere"), dir.path().join("here"));
        fs::create_dir(&elsewhere).unwrap();
        fs::create_dir(&here).unwrap();
        fs::write(elsewhere.join("file"), "precious").unwrap();
        fs::set_permissions(elsewhere.join("file"), fs::Permissions::from_mode(0o644)).unwrap();
        symlink(&elsewhere, here.join("home")).unwrap();
        symlink(elsewhere.join("file"), here.join("file")).unwrap();
        symlink(elsewhere.join("file"), here.join(".file.leonardo-tmp")).unwrap();
        let folder = dirfd::open_root(&here).unwrap();
        assert!(make(&folder, OsStr::new("home"), own(), 0o750).is_err());
        make_private(&folder, OsStr::new("file"), own().uid).unwrap();
        place_file(&folder, OsStr::new("file"), b"new", own(), 0o600).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "precious");
        assert_eq!(fs::metadata(elsewhere.join("file")).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_to_string(here.join("file")).unwrap(), "new");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_with_something_in_it_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let folder = dirfd::open_root(dir.path()).unwrap();
        make(&folder, OsStr::new("a"), own(), 0o2775).unwrap();
        let mode = || fs::metadata(dir.path().join("a")).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o2775, "whatever the umask");
        fs::write(dir.path().join("a/file"), "").unwrap();
        make(&folder, OsStr::new("a"), own(), 0o700).unwrap();
        assert_eq!(mode(), 0o2775);
    }

    #[test]
    fn only_the_first_class_of_permissions_that_fits_counts() {
        let dir = tempfile::tempdir().unwrap();
        let stat = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            fstat(dirfd::open_root(dir.path()).unwrap()).unwrap()
        };
        let (stranger, member) = (Ids { uid: 77, gid: 77 }, Ids { uid: 77, gid: own().gid });
        let table =
            [(0o700, [true, false, false]), (0o770, [true, true, false]), (0o707, [true, false, true])];
        for (mode, expected) in table {
            let stat = stat(mode);
            assert_eq!(
                [own(), member, stranger].map(|ids| is_open_by_mode(&stat, ids)),
                expected,
                "{mode:o}"
            );
        }
    }

    #[test]
    fn private_takes_from_others_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id_ed25519");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o464)).unwrap();
        let folder = dirfd::open_root(dir.path()).unwrap();
        make_private(&folder, OsStr::new("id_ed25519"), own().uid + 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o464, "another account's");
        make_private(&folder, OsStr::new("id_ed25519"), own().uid).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
    }
}
