//! One pass over two trees: corrects or counts the differences.

use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};

use dirfd::open_root;
use nix::sys::stat::fstat;
use nix::unistd::{getegid, geteuid};

use crate::compare::ChangeTimes;
use crate::copier::Copier;
use crate::copy_file::FileContext;
use crate::disk_sync::TargetDisk;
use crate::error::{Error, Result};
use crate::hard_links::HardLinks;
use crate::kernel_copy::KernelCopy;
use crate::metadata::Metadata;
use crate::observer::Observer;
use crate::open_directories::{DirectoryState, OpenPair};
use crate::options::{Options, PassStats};
use crate::pass_context::{PassContext, PassCounters};
use crate::tree_walk::{Roots, walk};

/// Brings the directory `target` into the state of the directory `source`, or compares them.
///
/// Both must exist. See the crate's documentation for what is kept and what a kill leaves behind.
pub fn pass(source: &Path, target: &Path, options: &Options, observer: &dyn Observer) -> Result<PassStats> {
    let source_root = open_root(source).map_err(|cause| Error::source("open", source, cause))?;
    let target_root = open_root(target).map_err(|cause| Error::target("open", target, cause, || None))?;
    pass_between(source_root, target_root, source, target, options, observer)
}

/// The same with open directories; the paths are for messages alone.
pub(crate) fn pass_between(
    source_root: OwnedFd,
    target_root: OwnedFd,
    source: &Path,
    target: &Path,
    options: &Options,
    observer: &dyn Observer,
) -> Result<PassStats> {
    let failed = |cause| Error::target("sync", target, cause, || None);
    let meta =
        fstat(&source_root).map(Metadata::from).map_err(|cause| Error::source("read", source, cause))?;
    let before = fstat(&target_root).map(Metadata::from).map_err(failed)?;
    // Opened before the first write: only then it gets all errors (syncfs(2)).
    let disk = TargetDisk::open(target_root.as_fd()).map_err(failed)?;
    let context = PassContext {
        options,
        counters: PassCounters::default(),
        making: FileContext {
            can: options.capabilities,
            means: &KernelCopy::new(source_root.as_fd(), target_root.as_fd(), options.capabilities.reflink),
            creator: (geteuid().as_raw(), getegid().as_raw()),
            // Where it cannot be read, modes are always set.
            umask: kit::process::umask().unwrap_or(0o777),
            sync: disk.needs_each_file(),
        },
        moments: ChangeTimes::now(),
    };
    let copier = Copier { context, links: HardLinks::new() };
    let root = OpenPair { source: source_root, target: Some(target_root) };
    let state = DirectoryState::root(meta, true, Some(before));
    let roots = Roots { source, target: Some(target), keep: options.keep };
    let (sum, counters) = walk(&roots, root, state, options.threads, &copier, observer)?;
    if options.durable && options.write {
        disk.sync().map_err(failed)?;
    }
    let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
    let counts = &copier.context.counters;
    Ok(PassStats {
        entries: counters.entries(),
        files: count(&counts.files),
        bytes: counters.bytes(),
        copied_files: count(&counts.copied_files),
        copied_bytes: counters.copied_bytes(),
        updated: count(&counts.updated),
        removed: count(&counts.removed),
        differing: count(&counts.differing),
        vanished: count(&counters.vanished),
        unstable: count(&counts.unstable),
        skipped: count(&counts.skipped),
        digest: sum.bytes(),
    })
}
