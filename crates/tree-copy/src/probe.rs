//! Tests the capabilities of a file system by use, because its own claims are often wrong.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::Path;

use dirfd::xattr::Node;
use dirfd::{open_dir, open_root};
use nix::errno::Errno;
use nix::fcntl::{AtFlags, OFlag, openat, renameat};
use nix::sys::stat::{Mode, SFlag, fchmod, fstat, fstatat, mkdirat, mknodat};
use nix::sys::statvfs::{FsFlags, Statvfs, fstatvfs};
use nix::sys::uio::pwrite;
use nix::unistd::{Gid, Uid, fchown, fsync, linkat, symlinkat};

use crate::attributes::{set_times, set_times_at};
use crate::capabilities::Capabilities;
use crate::error::{Error, Result};

use crate::kernel_copy::clone_file;
use crate::metadata::{Metadata, Time};
use crate::temporary_names;

/// Tests each capability in a temporary directory below `directory`, and removes that.
///
/// Fails if nothing can be created there; the error names the path.
pub fn probe(directory: &Path) -> Result<Capabilities> {
    let failed =
        |cause| Error::target("try out", directory, cause, || crate::space_check::free_space(directory).ok());
    let root = open_root(directory).map_err(failed)?;
    temporary_names::remove_leftovers(root.as_fd()).map_err(failed)?;
    let (name, ()) =
        temporary_names::with_free_name(|name| mkdirat(&root, name, Mode::S_IRWXU)).map_err(failed)?;
    let found = open_dir(&root, name.as_c_str()).and_then(|place| try_all(&place));
    let removed = dirfd::remove_all(&root, name.as_c_str());
    let found = found.map_err(failed)?;
    removed.map_err(failed)?;
    Ok(found)
}

fn try_all(place: &OwnedFd) -> std::result::Result<Capabilities, Errno> {
    let here = place.as_fd();
    let space = fstatvfs(here)?;
    let file = create(here, c"file")?;
    let mode = keeps_mode(&file, 0o640) && keeps_mode(&file, 0o751);
    Ok(Capabilities {
        mode,
        executable: executable(&file, &space),
        symbolic_links: symbolic_link(here),
        link_times: link_times(here),
        hard_links: hard_link(here, &file),
        attributes: attribute(&file, c"user.tree-copy", b"kept"),
        access_lists: attribute(&file, c"system.posix_acl_access", &access_list()),
        special_files: mknodat(here, c"fifo", SFlag::S_IFIFO, Mode::S_IRUSR, 0).is_ok(),
        case_sensitive: dirfd::stat(here, c"FILE") == Ok(None),
        any_name: any_name(here)?,
        longest_name: usize::try_from(space.name_max()).unwrap_or(255),
        rename_over: rename_over(here)?,
        sync: fsync(&file).is_ok() && fsync(here).is_ok(),
        reflink: reflink(here)?,
        time_granularity: granularity(&file)?,
        // Last: a file that belongs to another user may no longer be changeable.
        owner: keeps_owner(&file),
    })
}

fn create(here: BorrowedFd<'_>, name: &CStr) -> std::result::Result<OwnedFd, Errno> {
    let flags = OFlag::O_RDWR | OFlag::O_CREAT | OFlag::O_EXCL | OFlag::O_CLOEXEC;
    openat(here, name, flags, Mode::S_IRUSR | Mode::S_IWUSR)
}

fn meta(file: &OwnedFd) -> Option<Metadata> {
    fstat(file).ok().map(Metadata::from)
}

fn keeps_mode(file: &OwnedFd, mode: u32) -> bool {
    fchmod(file, Mode::from_bits_truncate(mode)).is_ok() && meta(file).is_some_and(|meta| meta.mode == mode)
}

/// True if a file keeps its execute bit and the mount is not `noexec`.
fn executable(file: &OwnedFd, space: &Statvfs) -> bool {
    let _ = fchmod(file, Mode::from_bits_truncate(0o755));
    meta(file).is_some_and(|meta| meta.mode & 0o100 != 0) && !space.flags().contains(FsFlags::ST_NOEXEC)
}

fn keeps_owner(file: &OwnedFd) -> bool {
    // Unused ids, so that "no change" cannot look like success.
    const SOMEBODY: u32 = 54_321;
    fchown(file, Some(Uid::from_raw(SOMEBODY)), Some(Gid::from_raw(SOMEBODY))).is_ok()
        && meta(file).is_some_and(|meta| meta.owner == (SOMEBODY, SOMEBODY))
}

fn symbolic_link(here: BorrowedFd<'_>) -> bool {
    let text = "../no such/place";
    symlinkat(text, here, c"link").is_ok()
        && dirfd::read_link(here, c"link").is_ok_and(|found| found.is_some_and(|found| found == text))
}

fn link_times(here: BorrowedFd<'_>) -> bool {
    let time = (1_000_000_000, 0);
    set_times_at(here, c"link", time, time).is_ok()
        && Metadata::at(here, c"link")
            .is_ok_and(|found| found.is_some_and(|found| found.modified.0 == time.0))
}

fn hard_link(here: BorrowedFd<'_>, file: &OwnedFd) -> bool {
    linkat(here, c"file", here, c"second", AtFlags::empty()).is_ok()
        && meta(file).is_some_and(|meta| meta.links == 2)
        && same(here, c"second", file) == Ok(true)
}

fn attribute(file: &OwnedFd, name: &CStr, value: &[u8]) -> bool {
    let node = Node::Open(file.as_fd());
    node.set(name, value).is_ok() && node.get(name).is_ok_and(|found| found == value)
}

/// An ACL that mode bits cannot express: one named user may read. The kernel's format is little-endian: version 2, then
/// tag, permissions and id of each entry (`linux/posix_acl_xattr.h`).
fn access_list() -> Vec<u8> {
    const NOBODY: u32 = u32::MAX;
    let entries: [(u16, u16, u32); 5] =
        [(0x01, 6, NOBODY), (0x02, 4, 54_321), (0x04, 4, NOBODY), (0x10, 4, NOBODY), (0x20, 0, NOBODY)];
    let mut list = 2_u32.to_le_bytes().to_vec();
    for (tag, permissions, number) in entries {
        list.extend(tag.to_le_bytes());
        list.extend(permissions.to_le_bytes());
        list.extend(number.to_le_bytes());
    }
    list
}

fn any_name(here: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    let name = c"line\nbreak \xff:*?";
    if create(here, name).is_err() {
        return Ok(false);
    }
    let mut found = false;
    dirfd::for_each(here, |entry| {
        found |= entry.file_name() == name;
        Ok::<_, Errno>(())
    })?;
    Ok(found)
}

fn rename_over(here: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    let new = create(here, c"new")?;
    drop(create(here, c"old")?);
    Ok(renameat(here, c"new", here, c"old").is_ok()
        && same(here, c"old", &new)?
        && Metadata::at(here, c"new")?.is_none())
}

fn same(here: BorrowedFd<'_>, name: &CStr, file: &OwnedFd) -> std::result::Result<bool, Errno> {
    Ok(fstatat(here, name, AtFlags::AT_SYMLINK_NOFOLLOW)?.st_ino == fstat(file)?.st_ino)
}

fn reflink(here: BorrowedFd<'_>) -> std::result::Result<bool, Errno> {
    let (from, to) = (create(here, c"shared")?, create(here, c"sharing")?);
    pwrite(&from, &[1; 16 * 1024], 0)?;
    Ok(clone_file(&from, &to).is_ok())
}

fn granularity(file: &OwnedFd) -> std::result::Result<u64, Errno> {
    // An odd second, so that steps of two seconds show.
    let wanted = (1_000_000_001, 987_654_321);
    set_times(file.as_fd(), wanted, wanted)?;
    Ok(step(wanted, Metadata::from(fstat(file)?).modified))
}

/// Returns the smallest usual step that explains the stored time.
fn step(wanted: Time, found: Time) -> u64 {
    let nanoseconds = |time: Time| i128::from(time.0) * 1_000_000_000 + i128::from(time.1);
    let off = nanoseconds(wanted).abs_diff(nanoseconds(found));
    let usual = [1, 100, 1_000, 1_000_000, 10_000_000, 1_000_000_000, 2_000_000_000];
    // If times cannot be set at all, any large step will do: a day.
    usual.into_iter().find(|&step| off < u128::from(step)).unwrap_or(86_400_000_000_000)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_of_time_are_recognised() {
        let wanted = (1_000_000_001, 987_654_321);
        let cases = [
            ((1_000_000_001, 987_654_321), 1),
            ((1_000_000_001, 987_654_300), 100),
            ((1_000_000_001, 987_654_000), 1_000),
            ((1_000_000_001, 0), 1_000_000_000),
            ((1_000_000_000, 0), 2_000_000_000),
            ((1_700_000_000, 0), 86_400_000_000_000),
        ];
        for (found, expected) in cases {
            assert_eq!(step(wanted, found), expected, "{found:?}");
        }
    }

    #[test]
    fn a_probe_leaves_nothing_behind_and_clears_up_after_a_killed_one() {
        let dir = tempfile::tempdir().unwrap();
        // Process numbers end at 4194304 (proc(5), pid_max).
        let here = kit::start_id::id();
        let leftover = dir.path().join(format!(".tree-copy.{here}-4194305-0.tmp"));
        // The same number in another container is another process, which may be at work.
        let foreign = dir.path().join(".tree-copy.0123-4194305-0.tmp");
        for directory in [&leftover, &foreign] {
            std::fs::create_dir(directory).unwrap();
            std::fs::write(directory.join("file"), "").unwrap();
        }
        let mine = dir.path().join(".tree-copy.notes");
        std::fs::write(&mine, "").unwrap();
        let found = probe(dir.path()).unwrap();
        assert!(found.symbolic_links && found.rename_over, "{found}");
        let mut left: Vec<_> =
            std::fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().path()).collect();
        left.sort();
        assert_eq!(left, [foreign.clone(), mine]);
        assert!(foreign.join("file").exists());
    }

    #[test]
    fn a_directory_that_is_not_there_is_named() {
        let error = probe(Path::new("/nowhere/at/all")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot try out /nowhere/at/all: No such file or directory (os error 2)"
        );
    }
}
