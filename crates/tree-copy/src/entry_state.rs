//! The state of one name on both sides of a pass.

use std::ffi::OsString;
use std::os::fd::{AsFd, BorrowedFd};

use dirfd::xattr::Node;
use nix::errno::Errno;
use nix::fcntl::readlinkat;

use crate::attributes;
use crate::copy_file::{self, FileContext};
use crate::error::{Result, SideError};
use crate::file_content;
use crate::metadata::Metadata;
use crate::tree_walk::{EntryPlace, WorkerScratch};

/// The relation of the target's entry to the source's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pairing {
    /// It may be the copy of the source's.
    Own,
    /// It stands for another file of the source.
    Foreign,
    /// A further name of the file that the target has as this inode, if it has it.
    NameOf(Option<u64>),
}

/// Facts that can be read besides the metadata.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Inspection {
    /// Target of the symbolic link on the other side.
    LinkText,
    /// The bytes of both files.
    Content,
    /// The extended attributes of both entries.
    Attributes,
}

/// An entry that is not a directory, and the facts read so far.
#[derive(Debug)]
pub(crate) struct EntryState {
    pub source: Metadata,
    /// Text of the source's symbolic link.
    pub link_text: OsString,
    pub target: Option<Metadata>,
    pub has_target_directory: bool,
    pub pairing: Pairing,
    pub link_text_equal: Option<bool>,
    pub content_equal: Option<bool>,
    pub attributes_equal: Option<bool>,
}

impl EntryState {
    /// Reads the target's side of an entry.
    pub fn read(at: &EntryPlace<'_, '_>, source: Metadata, link_text: OsString) -> Result<Self> {
        let target = match at.target() {
            Some(target) if !at.directory.is_new => {
                Metadata::at(target, at.name).map_err(|cause| at.error("read", SideError::Target(cause)))?
            }
            _ => None,
        };
        Ok(Self {
            source,
            link_text,
            target,
            has_target_directory: at.target().is_some(),
            pairing: Pairing::Own,
            link_text_equal: None,
            content_equal: None,
            attributes_equal: None,
        })
    }

    /// Reads what a plan asked for.
    pub fn inspect(
        &mut self,
        inspection: Inspection,
        at: &EntryPlace<'_, '_>,
        making: &FileContext<'_>,
        scratch: &mut WorkerScratch,
    ) -> Result<()> {
        let Some(target) = at.target() else { return Ok(()) };
        match inspection {
            Inspection::LinkText => {
                let text = readlinkat(target, at.name)
                    .map_err(|cause| at.error("read", SideError::Target(cause)))?;
                self.link_text_equal = Some(text == self.link_text);
            }
            Inspection::Content => {
                self.content_equal = Some(self.has_content_of(at, target, making, scratch)?);
            }
            Inspection::Attributes => {
                let to = Node::named(target, at.name);
                let differed =
                    match attributes::copy_attributes(&at.source_node(), &to, false, false, making.can) {
                        // It vanished: the next pass handles it.
                        Err(SideError::Source(Errno::ENOENT)) => false,
                        compared => {
                            compared.map_err(|error| at.error("read the attributes of", error))?.differed
                        }
                    };
                self.attributes_equal = Some(!differed);
            }
        }
        Ok(())
    }

    /// True if two files of the same size hold the same bytes; false if the source is no longer a file, which the copy
    /// finds out again.
    fn has_content_of(
        &self,
        at: &EntryPlace<'_, '_>,
        target: BorrowedFd<'_>,
        making: &FileContext<'_>,
        scratch: &mut WorkerScratch,
    ) -> Result<bool> {
        let (source, _) = match copy_file::open_source(at.pair.source.as_fd(), at.name) {
            Ok(opened) => opened,
            Err(Errno::ENOENT | Errno::ELOOP | Errno::ENXIO) => return Ok(false),
            Err(cause) => return Err(at.error("read", SideError::Source(cause))),
        };
        let (target, _) = copy_file::open_source(target, at.name)
            .map_err(|cause| at.error("read", SideError::Target(cause)))?;
        let check_stopped = || at.walk.check_stopped().map_err(|_| SideError::Stopped);
        let (source, target) = (source.as_fd(), target.as_fd());
        file_content::same_content(
            source,
            target,
            self.source.size,
            making.means,
            &mut scratch.buffer,
            &check_stopped,
        )
        .map_err(|error| at.error("read", error))
    }
}
