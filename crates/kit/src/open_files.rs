//! How many files this process may have open.

use nix::sys::resource::{Resource, getrlimit, setrlimit};

/// Lets the process open as many files as it may let itself. The usual 1,024 are for programs that use `select(2)`, and
/// whoever walks down a tree by descriptors needs one for each level.
pub fn raise() {
    if let Ok((_, most)) = getrlimit(Resource::RLIMIT_NOFILE) {
        // Where it cannot be raised, the lower one has to do.
        let _ = setrlimit(Resource::RLIMIT_NOFILE, most, most);
    }
}
