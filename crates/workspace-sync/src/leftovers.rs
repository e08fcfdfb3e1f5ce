//! Removes temporary entries that killed processes left on the workspace.

use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::Path;

use dirfd::walk::{self, Descend};

use crate::tree_paths::TreePaths;
use crate::tree_state;

/// Removes them from a copy; returns true if an entry of this container is too young, because a container made from a
/// saved image with the same id may be making it. Then the next start tries again.
pub fn remove_below(root: &OwnedFd) -> io::Result<bool> {
    let mut young = false;
    walk::walk_tree(root, &mut |entry| {
        if !tree_copy::is_temporary(entry.base) {
            return Ok::<_, io::Error>(Descend::Enter);
        }
        young |= tree_copy::sweep(entry.directory)?;
        Ok(Descend::Skip)
    })?;
    Ok(young)
}

/// Removes them from the directories of a tree and its copy, and from the copy's root.
pub fn remove_around(workspace: &Path, tree: &TreePaths) {
    let places = [&tree.parent, &tree.copy].map(|path| tree_state::open_in_workspace(workspace, path).ok());
    let images = [&tree.image, &tree.active_link].map(|path| dirfd::open_root(path.parent()?).ok());
    for directory in places.into_iter().chain(images).flatten() {
        if let Err(error) = tree_copy::sweep(directory.as_fd()) {
            log::debug!("{}: cannot tidy up: {error:#}", tree.name);
        }
    }
}
