//! Makes one entry that is not a directory; replaces an existing one. For a pass and for a single entry.

use std::ffi::{CStr, OsStr};
use std::os::fd::{AsFd, BorrowedFd};

use dirfd::FileType;
use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::sys::stat::{Mode, SFlag, mknodat};
use nix::unistd::symlinkat;

use crate::copy_file::{self, FileContext};
use crate::error::SideError;
use crate::file_content::Buffer;
use crate::metadata::Metadata;
use crate::replace_entry;

/// The entry of the source.
pub(crate) struct EntrySource<'a> {
    pub directory: BorrowedFd<'a>,
    pub name: &'a CStr,
    pub meta: &'a Metadata,
    /// Text of a symbolic link.
    pub link_text: &'a OsStr,
}

/// State of the name in the target.
#[derive(Debug, Clone, Copy)]
pub(crate) struct TargetState {
    /// The name is free.
    pub free: bool,
    /// New entries keep the owner and mode that they are made with.
    pub plain: bool,
}

/// Result of making an entry.
pub(crate) enum MadeEntry {
    Made {
        /// Known for files alone.
        inode: Option<u64>,
        /// It changed during each attempt to copy it.
        unstable: bool,
        /// Attributes that the target refused.
        dropped: Vec<String>,
    },
    /// A special file that cannot be made there.
    Unmakeable,
    /// The source's entry changed its type or vanished meanwhile.
    Changed,
}

/// Makes the entry; `progress` receives the number of copied bytes and may stop it.
pub(crate) fn make_entry(
    entry_source: &EntrySource<'_>,
    target: BorrowedFd<'_>,
    target_name: &CStr,
    how: TargetState,
    making: &FileContext<'_>,
    buffer: &mut Buffer,
    progress: &dyn Fn(u64) -> Result<(), SideError>,
) -> Result<MadeEntry, SideError> {
    let EntrySource { directory, name, meta, .. } = *entry_source;
    if !meta.is_file() {
        return make_node(entry_source, target, target_name, how, making);
    }
    let (source, meta) = match copy_file::open_source(directory, name) {
        Ok(opened) => opened,
        Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(MadeEntry::Changed),
        Err(cause) => return Err(SideError::Source(cause)),
    };
    let made = replace_entry::replace(target, target_name, how.free, |name| {
        copy_file::copy_file(source.as_fd(), meta, target, name, how.plain, making, buffer, progress)
    });
    match made {
        Err(SideError::Source(cause)) if dirfd::is_absent(cause) => Ok(MadeEntry::Changed),
        Err(error) => Err(error),
        Ok(made) => {
            Ok(MadeEntry::Made { inode: Some(made.inode), unstable: made.unstable, dropped: made.dropped })
        }
    }
}

/// Makes a symbolic link or a special file with everything of the source's.
fn make_node(
    entry_source: &EntrySource<'_>,
    target: BorrowedFd<'_>,
    target_name: &CStr,
    how: TargetState,
    making: &FileContext<'_>,
) -> Result<MadeEntry, SideError> {
    let EntrySource { directory, name, meta, link_text } = *entry_source;
    let special = !meta.is_link();
    if meta.kind == FileType::Fifo && !making.can.special_files {
        return Ok(MadeEntry::Unmakeable);
    }
    let from = Node::named(directory, name);
    let made = replace_entry::replace(target, target_name, how.free, |name| {
        if special {
            // The kind of a special file, as mknod(2) takes it.
            let kind = SFlag::from_bits_truncate(meta.kind.as_raw_mode());
            mknodat(target, name, kind, Mode::from_bits_truncate(meta.mode), meta.special)
        } else {
            symlinkat(link_text, target, name)
        }
        .map_err(SideError::Target)?;
        // As with files, the time is set last: an incomplete link has another time.
        replace_entry::set_metadata(meta, &from, target, name, how.plain, making)
    });
    match made {
        Ok(attributes) => Ok(MadeEntry::Made { inode: None, unstable: false, dropped: attributes.dropped }),
        Err(SideError::Source(Errno::ENOENT)) => Ok(MadeEntry::Changed),
        Err(SideError::Target(Errno::EPERM | Errno::ENOTSUP | Errno::ENOSYS | Errno::EACCES)) if special => {
            Ok(MadeEntry::Unmakeable)
        }
        Err(error) => Err(error),
    }
}
