//! Makes one entry that is not a directory; replaces an existing one. For a pass and for a single entry.

use std::ffi::{CStr, CString, OsStr};
use std::os::fd::{AsFd, BorrowedFd};

use dirfd::xattr::Node;
use nix::errno::Errno;

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
    /// The source's entry changed its type meanwhile.
    Changed,
}

/// Makes the entry; `progress` receives the number of copied bytes and may stop it.
pub(crate) fn make_entry(
    entry_source: &EntrySource<'_>,
    target: BorrowedFd<'_>,
    target_name: &CString,
    how: TargetState,
    making: &FileContext<'_>,
    buffer: &mut Buffer,
    progress: &dyn Fn(u64) -> Result<(), SideError>,
) -> Result<MadeEntry, SideError> {
    let EntrySource { directory, name, meta, link_text } = *entry_source;
    if !meta.is_file() {
        let from = Node::named(directory, name);
        let made = replace_entry::make_node(
            meta,
            link_text,
            &from,
            target,
            target_name,
            how.free,
            how.plain,
            making,
        );
        return match made {
            Err(SideError::Source(Errno::ENOENT)) => Ok(MadeEntry::Changed),
            Err(error) => Err(error),
            Ok(None) => Ok(MadeEntry::Unmakeable),
            Ok(Some(attributes)) => {
                Ok(MadeEntry::Made { inode: None, unstable: false, dropped: attributes.dropped })
            }
        };
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
