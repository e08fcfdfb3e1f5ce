//! One entry by its name in an open directory, read and opened without following a link.

use std::ffi::{OsStr, OsString};
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;

use anyhow::Result;
use dirfd::FileType;
use dirfd::walk::Entry;
use nix::fcntl::{OFlag, openat, readlinkat};
use nix::sys::stat::{Mode, fstat};

use crate::copied_state::EntryState;
use crate::merge_policy;

/// Returns the part of a file's state that every write changes.
pub fn state(file: impl AsFd) -> io::Result<EntryState> {
    Ok(EntryState::of(&fstat(file)?))
}

/// Opens a regular file of the new tree; nothing for anything else.
pub fn open_for_appending(above: &OwnedFd, base: &OsStr) -> Option<File> {
    let flags = dirfd::READ | OFlag::O_RDWR | OFlag::O_APPEND;
    let file = File::from(openat(above, base, flags, Mode::empty()).ok()?);
    file.metadata().is_ok_and(|meta| meta.is_file()).then_some(file)
}

/// True if both are symbolic links with the same text, or special files of the same kind.
pub fn is_same_special(entry: &Entry<'_>, above: &OwnedFd, base: &OsStr) -> bool {
    let Ok(Some(stat)) = dirfd::stat(above, base) else { return false };
    dirfd::file_type(&stat) == entry.kind()
        && match entry.kind() {
            FileType::RegularFile => false,
            FileType::Symlink => readlinkat(above, base).ok() == readlinkat(entry.directory, entry.base).ok(),
            _ => true,
        }
}

/// Appends the bytes beyond `length` that a program added to a file just before the file was replaced.
pub fn append_displaced(displaced: &File, length: u64, above: &OwnedFd, base: &OsStr) -> Result<()> {
    if displaced.metadata()?.len() > length
        && let Some(new) = open_for_appending(above, base)
    {
        merge_policy::append(displaced, &new, length)?;
    }
    Ok(())
}

/// Suffix of an old file that is kept beside the new one, because both were written.
pub const BEFORE_SWITCH: &str = ".before-switch";

/// Returns the name of an old entry that is kept beside the new one.
pub fn before_switch_name(base: &OsStr, number: u32) -> OsString {
    suffixed_name(base, number, BEFORE_SWITCH)
}

/// Returns `base` with a suffix; `base` is cut if the name would exceed `NAME_MAX` (limits.h).
pub fn suffixed_name(base: &OsStr, number: u32, suffix: &str) -> OsString {
    const LONGEST: usize = 255;
    let suffix = if number == 1 { suffix.to_owned() } else { format!(".{number}{suffix}") };
    let bytes = base.as_bytes();
    let mut name = OsStr::from_bytes(&bytes[..bytes.len().min(LONGEST - suffix.len())]).to_owned();
    name.push(suffix);
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kept_names_are_told_apart_and_never_too_long() {
        let name = |base: &str, number| before_switch_name(OsStr::new(base), number).into_string().unwrap();
        assert_eq!(name("a.db", 1), "a.db.before-switch");
        assert_eq!(name("a.db", 2), "a.db.2.before-switch");
        let long = "x".repeat(250);
        assert_eq!(name(&long, 1), format!("{}.before-switch", "x".repeat(241)));
    }
}
