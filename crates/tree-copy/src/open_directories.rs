//! A directory of both trees during a walk.

use std::ffi::CStr;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicBool, AtomicU64};

use dirfd::parallel_walk::Directory;

use crate::metadata::Metadata;
use crate::tree_digest::{self, PathHash};

/// A directory of the walk: the source's and the target's.
pub(crate) type WalkDirectory = Directory<OpenPair, DirectoryState>;

/// The open descriptors of a directory.
#[derive(Debug)]
pub(crate) struct OpenPair {
    pub source: OwnedFd,
    /// Nothing if only one tree is read, or if the target lacks this directory and must not be changed.
    pub target: Option<OwnedFd>,
}

/// State of one directory.
#[derive(Debug)]
pub(crate) struct DirectoryState {
    pub path_hash: PathHash,
    /// The source's directory when it was entered.
    pub meta: Metadata,
    pub has_target: bool,
    /// True if this pass made the target's directory: it is empty.
    pub is_new: bool,
    /// True if new files keep the owner and mode that they are made with: no inherited ACL or group.
    pub plain: bool,
    /// The target's directory before anything in it was touched.
    pub before: Option<Metadata>,
    /// Number of the source's entries that the target has as well.
    pub shared: AtomicU64,
    /// True if `shared` may be wrong, because an entry vanished.
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
