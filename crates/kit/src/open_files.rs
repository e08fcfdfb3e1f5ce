//! The limit on open files of this process.

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard limit. The usual 1,024 are for programs that use `select(2)`;
/// walking a tree by descriptors needs one for each level.
pub fn raise() {
    // If it cannot be raised, the lower limit must do.
    let _ = raise_to(RLIM_INFINITY);
}

/// Raises the soft limit on open files to `most`, or to the hard limit if that is lower; returns the hard limit.
pub fn raise_to(most: u64) -> nix::Result<u64> {
    let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE)?;
    setrlimit(Resource::RLIMIT_NOFILE, soft.max(hard.min(most)), hard)?;
    Ok(hard)
}
