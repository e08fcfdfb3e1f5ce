//! A directory on both sides while it is worked on.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64};

use dirfd::parallel_walk::Directory;

use crate::metadata::Metadata;
use crate::tree_digest::{self, PathHash};

/// A directory of the source and the same of the target.
pub(crate) type WalkDirectory = Directory<OpenPair, DirectoryState>;

/// The open descriptors of a directory.
#[derive(Debug)]
pub(crate) struct OpenPair {
    pub source: OwnedFd,
    /// None while only one tree is read, or where the target lacks this directory and may not be changed.
    pub target: Option<OwnedFd>,
}

/// The facts about one directory.
#[derive(Debug)]
pub(crate) struct DirectoryState {
    pub path_hash: PathHash,
    /// The source's directory when it was entered.
    pub meta: Metadata,
    pub has_target: bool,
    /// True if this pass made the target's directory: it is empty.
    pub is_new: bool,
    /// New files there have the owner and mode they are made with: no inherited list or group.
    pub plain: bool,
    /// The target's directory before anything in it was touched.
    pub before: Option<Metadata>,
    /// Entries of the source that the target has, too.
    pub shared: AtomicU64,
    /// An entry went away or something else made `shared` meaningless.
    pub may_be_stale: AtomicBool,
}

/// The target's side of a directory when it is entered.
#[derive(Debug, Default)]
pub(crate) struct TargetSide {
    pub directory: Option<OwnedFd>,
    pub is_new: bool,
    pub plain: bool,
    pub before: Option<Metadata>,
}

impl DirectoryState {
    /// The root of both trees.
    pub fn root(meta: Metadata, has_target: bool, before: Option<Metadata>) -> Self {
        Self {
            path_hash: tree_digest::ROOT,
            meta,
            has_target,
            is_new: false,
            plain: false,
            before,
            shared: AtomicU64::new(0),
            may_be_stale: AtomicBool::new(false),
        }
    }

    /// The directory `name` of a directory.
    pub fn below(parent: &WalkDirectory, name: &CStr, meta: Metadata, side: &TargetSide) -> Self {
        Self {
            path_hash: tree_digest::path_hash(&parent.path_hash, name),
            is_new: side.is_new,
            plain: side.plain,
            ..Self::root(meta, side.directory.is_some(), side.before)
        }
    }
}
