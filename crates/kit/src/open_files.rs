//! The limit on open files of this process.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Raises the soft limit on open files to the hard limit. The usual 1,024 are for programs that use `select(2)`;
/// walking a tree by descriptors needs one for each level.
pub fn raise() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // If it cannot be raised, the lower limit must do.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
