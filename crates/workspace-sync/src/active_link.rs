//! `/opt/NAME`: its state, and the switch to another tree.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process;

use anyhow::{Context, Result};
use kit::missing_ok;

use crate::report::ActiveCopy;
use crate::tree_paths::TreePaths;

/// State of `/opt/NAME`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActiveLink {
    /// A link to the image's own copy.
    Image,
    /// A link to the workspace's copy, which may be missing.
    Workspace,
    /// A link to another path, made by the user.
    Elsewhere(PathBuf),
    /// A directory, as an extended image may ship it.
    Directory,
    /// Something that is neither a link nor a directory.
    Other,
    /// Nothing.
    Missing,
}

impl ActiveLink {
    /// Reads the active link of `tree`.
    pub fn of(tree: &TreePaths) -> Result<Self> {
        let cannot = || format!("cannot access {}", tree.active_link.display());
        let looked = missing_ok(fs::symlink_metadata(&tree.active_link)).with_context(cannot);
        let Some(meta) = looked? else { return Ok(Self::Missing) };
        if meta.is_dir() {
            return Ok(Self::Directory);
        }
        if !meta.is_symlink() {
            return Ok(Self::Other);
        }
        let to = fs::read_link(&tree.active_link).with_context(cannot)?;
        Ok(if to == tree.image {
            Self::Image
        } else if to == tree.copy {
            Self::Workspace
        } else {
            Self::Elsewhere(to)
        })
    }
}

/// Points `/opt/NAME` to `to` in one rename, so that programs find the old tree or the new one.
pub fn switch_to(tree: &TreePaths, to: &Path) -> Result<()> {
    let temporary = temporary(tree);
    let cannot = || format!("cannot point {} to {}", tree.active_link.display(), to.display());
    // Left by a killed process that had our process id.
    let _ = fs::remove_file(&temporary);
    symlink(to, &temporary).with_context(cannot)?;
    fs::rename(&temporary, &tree.active_link)
        .inspect_err(|_| drop(fs::remove_file(&temporary)))
        .with_context(cannot)?;
    sync(tree).with_context(cannot)
}

/// Removes temporary links of killed processes. A directory of such a name was exchanged with the link already, and
/// becomes the image's copy.
pub fn remove_leftovers(tree: &TreePaths) {
    let prefix = format!(".{}.link-", tree.name);
    let Some(entries) = tree.active_link.parent().and_then(|opt| fs::read_dir(opt).ok()) else { return };
    for entry in entries.flatten() {
        let Ok(kind) = entry.file_type() else { continue };
        if !entry.file_name().as_bytes().starts_with(prefix.as_bytes()) {
            continue;
        }
        if kind.is_symlink() {
            let _ = fs::remove_file(entry.path());
        } else if kind.is_dir()
            && tree.image.symlink_metadata().is_err()
            && let Some(images) = tree.image.parent()
        {
            let _ = fs::create_dir_all(images).and_then(|()| fs::rename(entry.path(), &tree.image));
        }
    }
}

fn temporary(tree: &TreePaths) -> PathBuf {
    tree.active_link.with_file_name(format!(".{}.link-{}", tree.name, process::id()))
}

fn sync(tree: &TreePaths) -> io::Result<()> {
    tree.active_link.parent().map_or(Ok(()), |opt| fs::File::open(opt)?.sync_all())
}

/// Returns the copy that programs use.
pub fn active_copy(tree: &TreePaths) -> ActiveCopy {
    match ActiveLink::of(tree) {
        Ok(ActiveLink::Image) => ActiveCopy::Image,
        Ok(ActiveLink::Workspace) => ActiveCopy::Workspace,
        Ok(ActiveLink::Directory) => ActiveCopy::Directory,
        _ => ActiveCopy::Other,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tree(root: &Path) -> TreePaths {
        fs::create_dir_all(root.join("opt/.image/x")).unwrap();
        TreePaths::new("x", &root.join("opt"), &root.join("ws"), "s")
    }

    #[test]
    fn every_kind_of_active_link_is_told_apart() {
        let dir = tempfile::tempdir().unwrap();
        let tree = tree(dir.path());
        let look = || ActiveLink::of(&tree).unwrap();
        assert_eq!(look(), ActiveLink::Missing);
        switch_to(&tree, &tree.image).unwrap();
        assert_eq!(look(), ActiveLink::Image);
        switch_to(&tree, &tree.copy).unwrap();
        assert_eq!(look(), ActiveLink::Workspace, "a dangling link to the copy is still ours");
        switch_to(&tree, Path::new("/elsewhere")).unwrap();
        assert_eq!(look(), ActiveLink::Elsewhere("/elsewhere".into()));
        fs::remove_file(&tree.active_link).unwrap();
        fs::write(&tree.active_link, "").unwrap();
        assert_eq!(look(), ActiveLink::Other);
        fs::remove_file(&tree.active_link).unwrap();
        fs::create_dir(&tree.active_link).unwrap();
        assert_eq!(look(), ActiveLink::Directory);
    }

    #[test]
    fn links_of_killed_processes_are_swept_and_nothing_else() {
        let dir = tempfile::tempdir().unwrap();
        let tree = tree(dir.path());
        let opt = dir.path().join("opt");
        symlink("a", opt.join(".x.link-77")).unwrap();
        symlink("a", opt.join(".y.link-77")).unwrap();
        fs::write(opt.join(".x.link-text"), "").unwrap();
        remove_leftovers(&tree);
        assert!(opt.join(".x.link-77").symlink_metadata().is_err());
        assert!(opt.join(".y.link-77").symlink_metadata().is_ok() && opt.join(".x.link-text").exists());
    }
}
