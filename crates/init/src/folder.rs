//! A directory that is held open, for work inside trees that a user can write.
//!
//! Everything happens relative to the open directory and never through a symbolic link: whatever is renamed or linked
//! meanwhile, and whatever lies there already, root's hand is not led elsewhere.

use std::ffi::{OsStr, OsString};
use std::fs::{self, File};
use std::io::{self, Write};
use std::os::fd::{AsRawFd, OwnedFd};
use std::path::Path;

use kit::account_db::Ids;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, open, openat, renameat};
use nix::sys::stat::{FchmodatFlags, FileStat, Mode, fchmod, fchmodat, fstat, fstatat, mkdirat};
use nix::unistd::{Gid, Uid, UnlinkatFlags, fchown, symlinkat, unlinkat};

/// A directory, open.
#[derive(Debug)]
pub struct Folder(OwnedFd);

/// What a name in a directory stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    Directory,
    File,
    Link,
    Other,
}

impl Folder {
    /// Opens a directory by its path, through links: for paths that no user chose.
    pub fn open(path: &Path) -> io::Result<Self> {
        Ok(Self(open(path, flags(OFlag::O_DIRECTORY), Mode::empty())?))
    }

    /// Opens a directory in this one; a link is an error.
    pub fn inner(&self, name: &OsStr) -> io::Result<Self> {
        let opened = openat(&self.0, name, flags(OFlag::O_DIRECTORY | OFlag::O_NOFOLLOW), Mode::empty());
        Ok(Self(opened?))
    }

    /// What `name` stands for, and the link itself if it is one; nothing if it is not there.
    pub fn kind(&self, name: &OsStr) -> io::Result<Option<Kind>> {
        match fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(kind(&stat))),
            Err(Errno::ENOENT) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// Owner and mode.
    pub fn stat(&self) -> io::Result<FileStat> {
        Ok(fstat(&self.0)?)
    }

    /// Opens the directory `name`, made for `ids` with `mode` if it is not there.
    ///
    /// One that exists is left as it is, unless it is empty and root's: such a one a killed start leaves behind. A file
    /// system that cannot change owners or modes is no error; [`may_use`] tells what came of it.
    pub fn ensure(&self, name: &OsStr, ids: Ids, mode: u32) -> io::Result<Self> {
        let is_new = match mkdirat(&self.0, name, Mode::S_IRWXU) {
            Ok(()) => true,
            Err(Errno::EEXIST) => false,
            Err(error) => return Err(error.into()),
        };
        let folder = self.inner(name)?;
        if is_new || (folder.stat()?.st_uid == 0 && folder.names()?.is_empty()) {
            give(&folder.0, ids, mode)?;
        }
        Ok(folder)
    }

    /// Gives the directory itself, and nothing in it, to `ids`.
    pub fn give_to(&self, ids: Ids) -> io::Result<()> {
        Ok(fchown(&self.0, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid)))?)
    }

    /// The names in it, in no order.
    pub fn names(&self) -> io::Result<Vec<OsString>> {
        // The link in /proc leads to this very directory, wherever it is now.
        let own = format!("/proc/self/fd/{}", self.0.as_raw_fd());
        fs::read_dir(own)?.map(|entry| Ok(entry?.file_name())).collect()
    }

    /// Puts a file of this content there, all at once, for `ids`.
    pub fn place(&self, name: &OsStr, content: &[u8], ids: Ids, mode: u32) -> io::Result<()> {
        let mut temporary = OsString::from(".");
        temporary.push(name);
        temporary.push(".leonardo-tmp");
        match unlinkat(&self.0, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(error) => return Err(error.into()),
        }
        let create = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
        let mut file = File::from(openat(&self.0, temporary.as_os_str(), create, Mode::S_IRUSR)?);
        let placed = file
            .write_all(content)
            .and_then(|()| give(&file, ids, mode))
            .and_then(|()| Ok(renameat(&self.0, temporary.as_os_str(), &self.0, name)?));
        placed.inspect_err(|_| {
            let _ = unlinkat(&self.0, temporary.as_os_str(), UnlinkatFlags::NoRemoveDir);
        })
    }

    /// Makes a symbolic link.
    pub fn link(&self, name: &OsStr, target: &Path) -> io::Result<()> {
        Ok(symlinkat(target, &self.0, name)?)
    }

    /// Takes from the group and from others what they have of this file or directory of `owner`'s.
    ///
    /// What belongs to somebody else is left alone.
    pub fn make_private(&self, name: &OsStr, owner: u32) -> io::Result<()> {
        let stat = fstatat(&self.0, name, AtFlags::AT_SYMLINK_NOFOLLOW)?;
        let is_plain = matches!(kind(&stat), Kind::File | Kind::Directory);
        if is_plain && stat.st_uid == owner && stat.st_mode & 0o077 != 0 {
            let mode = Mode::from_bits_truncate(stat.st_mode & 0o700);
            tolerate(fchmodat(&self.0, name, mode, FchmodatFlags::NoFollowSymlink))?;
        }
        Ok(())
    }
}

/// Whether the modes let an account do everything with a directory (`path_resolution(7)`: the first class that fits).
pub fn may_use(stat: &FileStat, ids: Ids) -> bool {
    permitted(stat, ids) == 0o7
}

/// Whether the modes let an account pass through a directory.
pub fn may_pass(stat: &FileStat, ids: Ids) -> bool {
    permitted(stat, ids) & 0o1 != 0
}

fn permitted(stat: &FileStat, ids: Ids) -> u32 {
    let class = match (stat.st_uid == ids.uid, stat.st_gid == ids.gid) {
        (true, _) => stat.st_mode >> 6,
        (false, true) => stat.st_mode >> 3,
        (false, false) => stat.st_mode,
    };
    class & 0o7
}

fn flags(more: OFlag) -> OFlag {
    OFlag::O_RDONLY | OFlag::O_CLOEXEC | more
}

fn give(file: &impl std::os::fd::AsFd, ids: Ids, mode: u32) -> io::Result<()> {
    tolerate(fchown(file, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid))))?;
    tolerate(fchmod(file, Mode::from_bits_truncate(mode)))
}

/// What file systems answer that have no owners or modes of their own, or do not let us change them.
fn tolerate(result: nix::Result<()>) -> io::Result<()> {
    match result {
        Ok(()) | Err(Errno::EPERM | Errno::EACCES | Errno::ENOTSUP | Errno::ENOSYS | Errno::EINVAL) => Ok(()),
        Err(error) => Err(error.into()),
    }
}

fn kind(stat: &FileStat) -> Kind {
    match stat.st_mode & nix::libc::S_IFMT {
        nix::libc::S_IFDIR => Kind::Directory,
        nix::libc::S_IFREG => Kind::File,
        nix::libc::S_IFLNK => Kind::Link,
        _ => Kind::Other,
    }
}

#[cfg(test)]
mod tests {
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
        let folder = Folder::open(&here).unwrap();
        assert!(folder.ensure(OsStr::new("home"), own(), 0o750).is_err());
        folder.make_private(OsStr::new("file"), own().uid).unwrap();
        folder.place(OsStr::new("file"), b"new", own(), 0o600).unwrap();
        assert_eq!(fs::read_to_string(elsewhere.join("file")).unwrap(), "precious");
        assert_eq!(fs::metadata(elsewhere.join("file")).unwrap().permissions().mode() & 0o777, 0o644);
        assert_eq!(fs::read_to_string(here.join("file")).unwrap(), "new");
        assert_eq!(fs::read_dir(&elsewhere).unwrap().count(), 1);
    }

    #[test]
    fn a_directory_with_something_in_it_keeps_its_mode() {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.ensure(OsStr::new("a"), own(), 0o2775).unwrap();
        let mode = || fs::metadata(dir.path().join("a")).unwrap().mode() & 0o7777;
        assert_eq!(mode(), 0o2775, "whatever the umask");
        fs::write(dir.path().join("a/file"), "").unwrap();
        folder.ensure(OsStr::new("a"), own(), 0o700).unwrap();
        assert_eq!(mode(), 0o2775);
    }

    #[test]
    fn only_the_first_class_of_permissions_that_fits_counts() {
        let dir = tempfile::tempdir().unwrap();
        let stat = |mode| {
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
            Folder::open(dir.path()).unwrap().stat().unwrap()
        };
        let (stranger, member) = (Ids { uid: 77, gid: 77 }, Ids { uid: 77, gid: own().gid });
        let table =
            [(0o700, [true, false, false]), (0o770, [true, true, false]), (0o707, [true, false, true])];
        for (mode, expected) in table {
            let stat = stat(mode);
            assert_eq!([own(), member, stranger].map(|ids| may_use(&stat, ids)), expected, "{mode:o}");
        }
        assert!(may_pass(&stat(0o711), stranger) && !may_use(&stat(0o711), stranger));
    }

    #[test]
    fn private_takes_from_others_only() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("id_ed25519");
        fs::write(&path, "").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o464)).unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        folder.make_private(OsStr::new("id_ed25519"), own().uid + 1).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o464, "somebody else's");
        folder.make_private(OsStr::new("id_ed25519"), own().uid).unwrap();
        assert_eq!(fs::metadata(&path).unwrap().mode() & 0o777, 0o400);
    }
}
