//! A directory on both sides while it is worked on.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64};

use dirfd::parallel_walk::Directory;

use crate::metadata::Metadata;
use crate::tree_digest::{self, PathHash};

/// A directory of the source and the same of the target.
pub(crate) type Folder = Directory<Pair, FolderState>;

/// The open descriptors of a folder.
#[derive(Debug)]
pub(crate) struct Pair {
    pub source: OwnedFd,
    /// None while only one tree is read, or where the target lacks this directory and may not be changed.
    pub target: Option<OwnedFd>,
}

/// The facts about one folder.
#[derive(Debug)]
pub(crate) struct FolderState {
    pub place: PathHash,
    /// The source's directory when it was entered.
    pub meta: Metadata,
    pub has_target: bool,
    /// True if this pass made the target's directory: it is empty.
    pub fresh: bool,
    /// New files there have the owner and mode they are made with: no inherited list or group.
    pub plain: bool,
    /// The target's directory before anything in it was touched.
    pub before: Option<Metadata>,
    /// Entries of the source that the target has, too.
    pub shared: AtomicU64,
    /// An entry went away or something else made `shared` meaningless.
    pub unsure: AtomicBool,
}

/// The target's side of a directory when it is entered.
#[derive(Debug, Default)]
pub(crate) struct TargetSide {
    pub directory: Option<OwnedFd>,
    pub fresh: bool,
    pub plain: bool,
    pub before: Option<Metadata>,
}

impl FolderState {
    /// The root of both trees.
    pub fn root(meta: Metadata, has_target: bool, before: Option<Metadata>) -> Self {
        Self {
            place: tree_digest::ROOT,
            meta,
            has_target,
            fresh: false,
            plain: false,
            before,
            shared: AtomicU64::new(0),
            unsure: AtomicBool::new(false),
        }
    }

    /// The directory `name` of a folder.
    pub fn below(parent: &Folder, name: &CStr, meta: Metadata, side: &TargetSide) -> Self {
        Self {
            place: tree_digest::path_hash(&parent.place, name),
            fresh: side.fresh,
            plain: side.plain,
            ..Self::root(meta, side.directory.is_some(), side.before)
        }
    }
}
