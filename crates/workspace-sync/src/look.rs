//! Looking at a tree: its entrance, the image's copy, the workspace's.

use std::io;
use std::os::fd::OwnedFd;
use std::path::Path;

use anyhow::{Context, Result};

use crate::beneath;
use crate::decide::{Copy, Seen};
use crate::entrance::Entrance;
use crate::marker::Marker;
use crate::tree::Tree;

/// Looks at everything that the decision about `tree` needs; changes nothing.
pub fn at(tree: &Tree, workspace: &Path, mounted: bool, wanted: bool) -> Result<Seen> {
    Ok(Seen {
        entrance: Entrance::of(tree)?,
        image: tree.image.symlink_metadata().is_ok_and(|meta| meta.is_dir()),
        copy: copy(tree, workspace, &tree.copy)?,
        mounted,
        wanted,
    })
}

/// What is at `path`, which is the place of the tree's copy or of its previous one.
pub fn copy(tree: &Tree, workspace: &Path, path: &Path) -> Result<Copy> {
    let directory = match open(workspace, path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Copy::Absent),
        Err(error) if beneath::is_no_directory(&error) => {
            return Ok(Copy::Foreign("a link or a file is in its place".to_owned()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    let marker = Marker::read(&directory).with_context(|| format!("cannot look at {}", path.display()))?;
    Ok(match marker {
        Some(marker) if marker.tree == tree.name => Copy::Whole(marker),
        Some(marker) => Copy::Foreign(format!("a copy of {:?} is in its place", marker.tree)),
        None => Copy::Foreign("a directory that is no copy of ours is in its place".to_owned()),
    })
}

/// Opens a directory of the workspace without following a link below the workspace's root.
pub fn open(workspace: &Path, path: &Path) -> io::Result<OwnedFd> {
    let root = match beneath::open_root(workspace) {
        Ok(root) => root,
        Err(error) => {
            return Err(error.downcast::<nix::Error>().map_or_else(io::Error::other, io::Error::from));
        }
    };
    let relative = path.strip_prefix(workspace).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    beneath::open_below(&root, relative)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn only_a_marked_directory_of_this_tree_is_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, workspace) = (dir.path().join("opt"), dir.path().join("ws"));
        fs::create_dir_all(opt.join(".image/x")).unwrap();
        let tree = Tree::new("x", &opt, &workspace, "slug");
        let look = || copy(&tree, &workspace, &tree.copy).unwrap();
        assert_eq!(look(), Copy::Absent, "a workspace that is not there has no copies");
        fs::create_dir_all(&tree.copy).unwrap();
        assert_eq!(look(), Copy::Foreign("a directory that is no copy of ours is in its place".into()));
        let mut marker = Marker {
            tree: "y".into(),
            generation: "g".into(),
            manifest: "m".into(),
            entries: 1,
            bytes: 2,
            completed_at: 3,
        };
        let file = tree.copy.join(crate::marker::NAME);
        fs::write(&file, marker.render().unwrap()).unwrap();
        assert_eq!(look(), Copy::Foreign("a copy of \"y\" is in its place".into()));
        marker.tree = "x".into();
        fs::write(&file, marker.render().unwrap()).unwrap();
        assert_eq!(look(), Copy::Whole(marker));
        fs::rename(&tree.copy, workspace.join("moved")).unwrap();
        symlink("moved", &tree.copy).unwrap();
        assert_eq!(look(), Copy::Foreign("a link or a file is in its place".into()));
    }
}
