//! Copies one entry atomically, into a tree that is in use.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::BorrowedFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use nix::errno::Errno;
use nix::fcntl::{RenameFlags, renameat, renameat2};
use nix::sys::stat::{Mode, mkdirat};
use nix::unistd::{getegid, geteuid};

use crate::capabilities::Capabilities;
use crate::copy_file::FileContext;
use crate::disk_sync::TargetDisk;
use crate::error::{Error, Result, SideError};
use crate::file_content::Buffer;
use crate::kernel_copy::KernelCopy;
use crate::make_entry::{EntrySource, MadeEntry, TargetState, make_entry};
use crate::metadata::{Metadata, SourceEntry};
use crate::observer::{Note, NoteKind, Observer};
use crate::options::Options;
use crate::pass::pass_between;
use crate::temporary_names;

/// Result for one entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Replicated {
    /// The target equals the source.
    Done,
    /// The source does not have it (any more); the target was not changed.
    Vanished,
    /// It changed during each attempt; the target has a state from the time of the copy.
    Unstable,
    /// It is a socket, device or FIFO that cannot be made there; the target was not changed.
    Skipped,
}

/// Puts one entry of a directory (a file, a link, a whole subtree) at a name in another, atomically.
///
/// It is made under a temporary name and then takes the place of what was there, so that a reader sees the old or the
/// new. Only where a directory meets something else, or the file system cannot exchange names, there is a moment with
/// neither. A file that has more names becomes one of its own. What is made is on the disk only after
/// [`sync_to_disk`](crate::sync_to_disk).
pub fn replicate(
    source_directory: BorrowedFd<'_>,
    name: &OsStr,
    target_directory: BorrowedFd<'_>,
    target_name: &OsStr,
    capabilities: &Capabilities,
    observer: &dyn Observer,
) -> Result<Replicated> {
    let (from, to) = (path_of(source_directory).join(name), path_of(target_directory).join(target_name));
    let source_name = c_name(name).map_err(|cause| Error::source("read", &from, cause))?;
    let target_name = c_name(target_name).map_err(|cause| Error::target("write", &to, cause, || None))?;
    let means = KernelCopy::new(source_directory, target_directory, capabilities.reflink);
    let sync = TargetDisk::open(target_directory)
        .map_err(|cause| Error::target("write", &to, cause, || None))?
        .needs_each_file();
    let one = One {
        source: source_directory,
        target: target_directory,
        name: &target_name,
        making: FileContext {
            can: capabilities,
            means: &means,
            creator: (geteuid().as_raw(), getegid().as_raw()),
            // Where it cannot be read, modes are always set.
            umask: kit::process::umask().unwrap_or(0o777),
            sync,
        },
        observer,
        from: &from,
        to: &to,
    };
    let found = SourceEntry::read(source_directory, &source_name)
        .map_err(|cause| Error::source("read", &from, cause))?;
    let done = match found {
        SourceEntry::Nothing | SourceEntry::Changed => return Ok(Replicated::Vanished),
        SourceEntry::Directory => one.directory(&source_name),
        SourceEntry::Entry(meta, link_text) => one.entry(&source_name, &meta, &link_text),
    };
    match done {
        // It changed its type or vanished.
        Err(Error::Source(trouble))
            if trouble.cause.raw_os_error().is_some_and(|code| dirfd::is_absent(Errno::from_raw(code))) =>
        {
            Ok(Replicated::Vanished)
        }
        answer => answer,
    }
}

/// Removes the temporary entries of killed processes from a directory; returns true if one of an earlier start of this
/// container, see [`set_container_id`](crate::set_container_id), is too young to be removed.
pub fn sweep(target_directory: BorrowedFd<'_>) -> std::io::Result<bool> {
    Ok(temporary_names::remove_leftovers(target_directory)?)
}

/// True for the temporary names of this crate.
#[must_use]
pub fn is_temporary(name: &OsStr) -> bool {
    let name = name.as_bytes();
    name.starts_with(b".tree-copy.") && name.ends_with(b".tmp")
}

struct One<'a> {
    source: BorrowedFd<'a>,
    target: BorrowedFd<'a>,
    name: &'a CStr,
    making: FileContext<'a>,
    observer: &'a dyn Observer,
    from: &'a Path,
    to: &'a Path,
}

impl One<'_> {
    fn error(&self, error: SideError) -> Error {
        match error {
            SideError::Source(cause) => Error::source("read", self.from, cause),
            SideError::Target(cause) => {
                let above = self.to.parent().unwrap_or(self.to);
                Error::target("write", self.to, cause, || crate::space_check::free_space(above).ok())
            }
            SideError::Stopped => Error::Stopped,
        }
    }

    fn dropped(&self, attributes: Vec<String>) {
        let path = self.from.file_name().map_or_else(PathBuf::new, PathBuf::from);
        for attribute in attributes {
            self.observer.on_note(Note { path: path.clone(), what: NoteKind::AttributeDropped(attribute) });
        }
    }

    fn entry(&self, name: &CStr, meta: &Metadata, link_text: &OsStr) -> Result<Replicated> {
        let entry_source = EntrySource { directory: self.source, name, meta, link_text };
        let how = TargetState { free: false, plain: false };
        let mut buffer = Buffer::default();
        let progress = |_| if self.observer.stop() { Err(SideError::Stopped) } else { Ok(()) };
        let made =
            make_entry(&entry_source, self.target, self.name, how, &self.making, &mut buffer, &progress)
                .map_err(|error| self.error(error))?;
        match made {
            MadeEntry::Made { unstable, dropped, .. } => {
                self.dropped(dropped);
                Ok(if unstable { Replicated::Unstable } else { Replicated::Done })
            }
            MadeEntry::Unmakeable => Ok(Replicated::Skipped),
            MadeEntry::Changed => Ok(Replicated::Vanished),
        }
    }

    fn directory(&self, source_name: &CStr) -> Result<Replicated> {
        let refused = |cause| self.error(SideError::Target(cause));
        let source = dirfd::open_dir(self.source, source_name)
            .map_err(|cause| self.error(SideError::Source(cause)))?;
        let (temporary, ()) =
            temporary_names::with_free_name(|name| mkdirat(self.target, name, Mode::S_IRWXU))
                .map_err(refused)?;
        let filled = dirfd::open_dir(self.target, temporary.as_c_str()).map_err(refused).and_then(|target| {
            let options = Options { prune: false, durable: false, ..Options::new(self.making.can) };
            pass_between(source, target, self.from, self.to, &options, self.observer)
        });
        let placed = filled.and_then(|done| {
            self.swap(&temporary).map_err(refused)?;
            Ok(if done.unstable > 0 { Replicated::Unstable } else { Replicated::Done })
        });
        placed.inspect_err(|_| {
            let _ = dirfd::remove_all(self.target, temporary.as_c_str());
        })
    }

    /// Renames a finished directory into place and removes the old entry.
    fn swap(&self, temporary: &CStr) -> std::result::Result<(), Errno> {
        let name = self.name;
        if Metadata::at(self.target, name)?.is_none() {
            return renameat(self.target, temporary, self.target, name);
        }
        match renameat2(self.target, temporary, self.target, name, RenameFlags::RENAME_EXCHANGE) {
            Ok(()) => dirfd::remove_all(self.target, temporary).map(drop),
            Err(Errno::EINVAL | Errno::ENOSYS | Errno::ENOTSUP) => {
                dirfd::remove_all(self.target, name)?;
                renameat(self.target, temporary, self.target, name)
            }
            Err(cause) => Err(cause),
        }
    }
}

/// Returns the path of an open directory, for messages.
fn path_of(directory: BorrowedFd<'_>) -> PathBuf {
    std::fs::read_link(dirfd::fd_path(directory)).unwrap_or_default()
}

/// Returns the name of an entry; fails for a path, `.` and `..`.
fn c_name(name: &OsStr) -> std::result::Result<CString, Errno> {
    let bytes = name.as_bytes();
    if bytes.contains(&b'/') || matches!(bytes, b"" | b"." | b"..") {
        return Err(Errno::EINVAL);
    }
    CString::new(bytes).map_err(|_| Errno::EINVAL)
}
