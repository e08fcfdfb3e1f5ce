//! File access relative to open directories, safe while other users change the tree.
//!
//! Every name is used in an open directory, and every directory is opened in its parent without following a link. So
//! root never leaves a tree that others can write, and a path may exceed the kernel's limit.
//!
//! | | |
//! |---|---|
//! | [`open_root`], [`open_absolute`], [`open_beneath`] | directories by a path |
//! | [`open_dir`], [`open_file`], [`create_file`], [`create_dir`] | one step, by a name in an open directory |
//! | [`stat`], [`read_link`], [`unlink`], [`remove_all`] | entries; a missing one is not an error |
//! | [`for_each`], [`names`], [`walk`], [`parallel_walk`] | listings, and walks over a tree in one thread and in several |
//! | [`xattr`] | extended attributes, also of what cannot be opened |
//!
//! Names may be given as `&CStr` (no copy), `&OsStr`, `&[u8]` or `&str`. Errors are those of the kernel.

mod listing;
pub mod parallel_walk;
mod queue;
mod remove;
pub mod walk;
pub mod xattr;

use std::ffi::OsString;
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::path::{Component, Path, PathBuf};

use nix::NixPath;
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, OpenHow, ResolveFlag, open, openat, openat2, readlinkat};
use nix::sys::stat::{FileStat, Mode, fstat, fstatat, mkdirat};
use nix::unistd::{UnlinkatFlags, unlinkat};

pub use listing::{for_each, names};
pub use remove::remove_all;
pub use rustix::fs::{FileType, RawDirEntry};

const ANY_DIRECTORY: OFlag = OFlag::O_RDONLY.union(OFlag::O_DIRECTORY).union(OFlag::O_CLOEXEC);

/// Flags to open a directory that is not reached through a link.
pub const DIRECTORY: OFlag = ANY_DIRECTORY.union(OFlag::O_NOFOLLOW);

/// Flags to open a file for reading. A pipe does not block, and a terminal does not become ours.
pub const READ: OFlag = OFlag::O_RDONLY
    .union(OFlag::O_NOFOLLOW)
    .union(OFlag::O_NONBLOCK)
    .union(OFlag::O_NOCTTY)
    .union(OFlag::O_CLOEXEC);

/// Device and inode. The kernel may reuse the pair once the file is gone.
pub type Identity = (u64, u64);

/// Opens a directory by its path and follows links, for paths that no user of the tree chose.
pub fn open_root<P: ?Sized + NixPath>(path: &P) -> nix::Result<OwnedFd> {
    open(path, ANY_DIRECTORY, Mode::empty())
}

/// Opens an absolute path; fails if a component is a link.
pub fn open_absolute(path: &Path) -> nix::Result<OwnedFd> {
    let relative = path.strip_prefix("/").map_err(|_| Errno::EINVAL)?;
    open_beneath(open_root("/")?, relative)
}

/// Opens the directory at `relative` below `root`. Mounts are entered, links are not followed, `..` is `EINVAL`.
///
/// An empty path opens `root` again, with a listing position of its own.
pub fn open_beneath(root: impl AsFd, relative: &Path) -> nix::Result<OwnedFd> {
    let mut directory = openat(root, c".", ANY_DIRECTORY, Mode::empty())?;
    for step in relative.components() {
        let Component::Normal(name) = step else { return Err(Errno::EINVAL) };
        directory = openat(&directory, name, DIRECTORY, Mode::empty())?;
    }
    Ok(directory)
}

/// Opens a directory of a directory; fails with `EXDEV` where something is mounted on it.
pub fn open_dir<P: ?Sized + NixPath>(parent: impl AsFd, name: &P) -> nix::Result<OwnedFd> {
    open_same_mount(parent, name, DIRECTORY)
}

/// Opens an entry of a directory, with the same rule for mounts as [`open_dir`].
pub fn open_same_mount<P: ?Sized + NixPath>(
    parent: impl AsFd,
    name: &P,
    flags: OFlag,
) -> nix::Result<OwnedFd> {
    let resolve = ResolveFlag::RESOLVE_NO_XDEV | ResolveFlag::RESOLVE_NO_SYMLINKS;
    match openat2(&parent, name, OpenHow::new().flags(flags).resolve(resolve)) {
        Err(Errno::ENOSYS | Errno::EPERM) => open_and_compare(&parent, name, flags),
        opened => opened,
    }
}

/// Replaces `openat2` (Linux 5.6) where it is missing or blocked by seccomp. A bind mount may have its parent's device.
fn open_and_compare<P: ?Sized + NixPath>(parent: impl AsFd, name: &P, flags: OFlag) -> nix::Result<OwnedFd> {
    let opened = openat(&parent, name, flags, Mode::empty())?;
    let same = fstat(&opened)?.st_dev == fstat(&parent)?.st_dev && mount_id(&opened) == mount_id(&parent);
    if same { Ok(opened) } else { Err(Errno::EXDEV) }
}

/// Opens a file of a directory for reading; nothing if it is missing. A link fails with `ELOOP`.
pub fn open_file<P: ?Sized + NixPath>(directory: impl AsFd, name: &P) -> nix::Result<Option<File>> {
    present(openat(directory, name, READ, Mode::empty()).map(File::from))
}

/// Creates a file for writing; replaces an existing file or link.
pub fn create_file<P: ?Sized + NixPath>(directory: impl AsFd, name: &P, mode: u32) -> nix::Result<File> {
    unlink(&directory, name)?;
    create_new_file(directory, name, mode).map(File::from)
}

/// Creates a file for writing; fails with `EEXIST` if the name is taken.
pub fn create_new_file<P: ?Sized + NixPath>(
    directory: impl AsFd,
    name: &P,
    mode: u32,
) -> nix::Result<OwnedFd> {
    let flags = OFlag::O_WRONLY | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC;
    openat(directory, name, flags, Mode::from_bits_truncate(mode))
}

/// Opens a directory of a directory, created if it is missing; true if this call has created it. A mount is entered.
pub fn create_dir<P: ?Sized + NixPath>(
    parent: impl AsFd,
    name: &P,
    mode: u32,
) -> nix::Result<(OwnedFd, bool)> {
    let is_new = match mkdirat(&parent, name, Mode::from_bits_truncate(mode)) {
        Err(Errno::EEXIST) => false,
        result => result.map(|()| true)?,
    };
    Ok((openat(parent, name, DIRECTORY, Mode::empty())?, is_new))
}

/// Returns the metadata of an entry, of a link itself; nothing if it is missing.
pub fn stat<P: ?Sized + NixPath>(directory: impl AsFd, name: &P) -> nix::Result<Option<FileStat>> {
    present(fstatat(directory, name, AtFlags::AT_SYMLINK_NOFOLLOW))
}

/// Returns the target of a symbolic link; nothing if it is missing or not a link.
pub fn read_link<P: ?Sized + NixPath>(directory: impl AsFd, name: &P) -> nix::Result<Option<OsString>> {
    match readlinkat(directory, name) {
        Err(Errno::EINVAL) => Ok(None),
        read => present(read),
    }
}

/// Removes a name that is not a directory; false if it is missing.
pub fn unlink<P: ?Sized + NixPath>(directory: impl AsFd, name: &P) -> nix::Result<bool> {
    present(unlinkat(directory, name, UnlinkatFlags::NoRemoveDir)).map(|removed| removed.is_some())
}

fn present<T>(result: nix::Result<T>) -> nix::Result<Option<T>> {
    match result {
        Ok(found) => Ok(Some(found)),
        Err(Errno::ENOENT) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Returns the type of an entry.
#[must_use]
pub fn file_type(stat: &FileStat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// Returns the identity of an open file or directory.
pub fn identity(open: impl AsFd) -> nix::Result<Identity> {
    fstat(open).map(|stat| (stat.st_dev, stat.st_ino))
}

/// Returns the mount id of an open file or directory (`fdinfo`, proc(5)); nothing without `/proc`.
#[must_use]
pub fn mount_id(open: impl AsFd) -> Option<u64> {
    let info = fs::read_to_string(format!("/proc/self/fdinfo/{}", open.as_fd().as_raw_fd())).ok()?;
    info.lines().find_map(|line| line.strip_prefix("mnt_id:"))?.trim().parse().ok()
}

/// Path of an open file or directory, valid even if it is renamed.
#[must_use]
pub fn fd_path(open: impl AsFd) -> PathBuf {
    format!("/proc/self/fd/{}", open.as_fd().as_raw_fd()).into()
}

/// True if an open failed because the directory does not exist, or is a link or another kind of file.
#[must_use]
pub fn is_absent(error: Errno) -> bool {
    error == Errno::ENOENT || is_not_directory(error)
}

/// True if an open failed because the name is not a directory. `O_NOFOLLOW` with `O_DIRECTORY` fails with `ENOTDIR` for
/// a link, and with `ELOOP` on some kernels.
#[must_use]
pub fn is_not_directory(error: Errno) -> bool {
    matches!(error, Errno::ENOTDIR | Errno::ELOOP)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::process::Command;

    use super::*;

    #[test]
    fn a_link_on_the_way_and_a_way_out_are_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("elsewhere/inner")).unwrap();
        symlink("elsewhere", dir.path().join("link")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let beneath = |path: &str| open_beneath(&root, Path::new(path)).map(drop);
        assert_eq!(beneath("elsewhere/inner"), Ok(()));
        for path in ["link", "link/inner"] {
            assert!(beneath(path).is_err_and(is_not_directory), "{path}");
            assert!(open_absolute(&dir.path().join(path)).is_err_and(is_not_directory), "{path}");
        }
        assert_eq!(beneath("../x"), Err(Errno::EINVAL));
        assert_eq!(beneath("missing"), Err(Errno::ENOENT));
        assert!(create_dir(&root, "link", 0o755).is_err_and(is_not_directory));
        assert_eq!(identity(open_beneath(&root, Path::new("")).unwrap()), identity(&root));
    }

    #[test]
    fn entries_are_what_they_are_and_may_be_missing() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("file"), "precious").unwrap();
        symlink("file", dir.path().join("link")).unwrap();
        let root = open_root(dir.path()).unwrap();
        let kind = |name: &str| stat(&root, name).unwrap().as_ref().map(file_type);
        let kinds = ["file", "link", "missing"].map(kind);
        assert_eq!(kinds, [Some(FileType::RegularFile), Some(FileType::Symlink), None]);
        assert_eq!(read_link(&root, "link"), Ok(Some("file".into())));
        assert_eq!(["file", "missing"].map(|name| read_link(&root, name)), [Ok(None), Ok(None)]);
        assert!(
            open_file(&root, "file").unwrap().is_some() && open_file(&root, "missing").unwrap().is_none()
        );
        assert_eq!(open_file(&root, "link").map(drop), Err(Errno::ELOOP));
        assert!(create_dir(&root, "new", 0o755).unwrap().1 && !create_dir(&root, "new", 0o755).unwrap().1);
        drop(create_file(&root, "link", 0o600).unwrap());
        assert_eq!(kind("link"), Some(FileType::RegularFile), "in the place of the link");
        assert_eq!(fs::read_to_string(dir.path().join("file")).unwrap(), "precious");
        assert_eq!([unlink(&root, "link"), unlink(&root, "link")], [Ok(true), Ok(false)]);
        assert_eq!(fs::canonicalize(fd_path(&root)).unwrap(), fs::canonicalize(dir.path()).unwrap());
    }

    #[test]
    fn a_bind_mount_of_the_same_device_is_not_entered_by_any_kernel() {
        struct Bound(PathBuf);
        impl Drop for Bound {
            fn drop(&mut self) {
                let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
            }
        }
        let dir = tempfile::tempdir().unwrap();
        let (plain, bound) = (dir.path().join("plain"), dir.path().join("bound"));
        fs::create_dir(&plain).unwrap();
        fs::create_dir(&bound).unwrap();
        assert!(Command::new("mount").arg("--bind").args([&plain, &bound]).status().unwrap().success());
        let _bound = Bound(bound);
        let parent = open_root(dir.path()).unwrap();
        let by_openat2 = |name| open_same_mount(&parent, name, DIRECTORY).map(drop);
        let by_openat = |name| open_and_compare(&parent, name, DIRECTORY).map(drop);
        assert_eq!([by_openat2("plain"), by_openat("plain")], [Ok(()), Ok(())]);
        assert_eq!([by_openat2("bound"), by_openat("bound")], [Err(Errno::EXDEV), Err(Errno::EXDEV)]);
    }
}
