//! Refuses trees that contain mounts: a mount is a volume of its own, whose content is not copied.
//!
//! Such a tree is neither copied nor switched, exchanged or removed. The mount table is checked before any change, and
//! [`dirfd::open_dir`] never crosses a mount, even a new one.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};

use crate::failure::Failure;
use crate::opt_sync;
use crate::tree_paths::TreePaths;

/// A mount that concerns a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mount {
    /// The tree itself is a mount of the user.
    Itself,
    /// A mount point inside the tree; for the image's tree, as a path below the active link.
    Inside(PathBuf),
}

/// Returns the first mount at or below `path`, a directory of `tree`.
pub fn at(tree: &TreePaths, path: &Path) -> Result<Option<Mount>> {
    if !path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
        return Ok(None);
    }
    let root = fs::canonicalize(path).with_context(|| format!("cannot access {}", path.display()))?;
    let mounts = workspace::mounts_below(&root).context("cannot read /proc/self/mountinfo")?;
    let Some(inside) = mounts.first().and_then(|mount| mount.strip_prefix(&root).ok()) else {
        return Ok(None);
    };
    if inside.as_os_str().is_empty() {
        return Ok(Some(Mount::Itself));
    }
    let shown = if path == tree.image { &tree.active_link } else { path };
    Ok(Some(Mount::Inside(shown.join(inside))))
}

/// Fails permanently if one of these directories of `tree` is or contains a mount.
pub fn refuse(tree: &TreePaths, paths: &[&Path]) -> Result<(), Failure> {
    for path in paths {
        let mount = match at(tree, path)? {
            None => continue,
            Some(Mount::Itself) => (*path).to_owned(),
            Some(Mount::Inside(mount)) => mount,
        };
        let (cause, hint) = describe(tree, &mount);
        return Err(Failure::Permanent(kit::exit::with_hint(anyhow!(cause), hint)));
    }
    Ok(())
}

/// Returns the obstacle and a hint for the user.
pub fn describe(tree: &TreePaths, mount: &Path) -> (String, String) {
    let cause =
        format!("{} is a mount; trees that contain mounts are not copied or replaced", mount.display());
    let Ok(inside) = mount.strip_prefix(&tree.active_link) else {
        return (cause, "start once without this mount, and mount it again afterwards".to_owned());
    };
    let otherwise = if tree.name == opt_sync::ENVIRONMENTS {
        "start without WORKSPACE_SYNC=true".to_owned()
    } else {
        format!("remove {} from OPT_SYNC", tree.name)
    };
    let hint = format!(
        "start once without this mount, and mount it at {} from then on; or {otherwise}",
        tree.copy.join(inside).display()
    );
    (cause, hint)
}
