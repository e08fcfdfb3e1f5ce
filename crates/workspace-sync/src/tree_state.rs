//! Inspects a tree: its active link, the image's copy, and the workspace's.

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use anyhow::{Context, Result};
use nix::errno::Errno;
use nix::unistd::User;

use crate::active_link::ActiveLink;
use crate::copy_marker::Marker;
use crate::decision::{TreeState, WorkspaceCopy};
use crate::mount_check::{self, Mount};
use crate::tree_paths::TreePaths;

/// Reads the state that the decision about `tree` needs; changes nothing.
pub fn inspect(tree: &TreePaths, workspace: &Path, mounted: bool, wanted: bool) -> Result<TreeState> {
    let copy = inspect_copy(tree, workspace, &tree.copy)?;
    let mut mount = tree.image_tree().map_or(Ok(None), |path| mount_check::at(tree, path))?;
    // A container engine creates the directories above a mount point.
    if mount.is_none()
        && matches!(copy, WorkspaceCopy::Foreign(_))
        && let Some(inside @ Mount::Inside(_)) = mount_check::at(tree, &tree.copy)?
    {
        mount = Some(inside);
    }
    Ok(TreeState {
        active_link: ActiveLink::of(tree)?,
        image: tree.image.symlink_metadata().is_ok_and(|meta| meta.is_dir()),
        copy,
        mounted,
        wanted,
        mount,
    })
}

/// True if root cannot access the path of the copy, and programs do not use it: unless a copy is requested, such a
/// volume needs no action.
pub fn is_inaccessible(tree: &TreePaths, workspace: &Path) -> bool {
    let refused = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    !matches!(ActiveLink::of(tree), Ok(ActiveLink::Workspace | ActiveLink::Missing))
        && open_in_workspace(workspace, &tree.copy).is_err_and(refused)
}

/// Inspects `path`, the tree's copy or its previous one. A copy that a network-facing account can replace is not used,
/// because root runs programs from it.
pub fn inspect_copy(tree: &TreePaths, workspace: &Path, path: &Path) -> Result<WorkspaceCopy> {
    let exposed = workspace::NETWORK_FACING_ACCOUNTS.map(|name| User::from_name(name).ok().flatten());
    copy_beside(&exposed.into_iter().flatten().collect::<Vec<_>>(), tree, workspace, path)
}

fn copy_beside(exposed: &[User], tree: &TreePaths, workspace: &Path, path: &Path) -> Result<WorkspaceCopy> {
    for place in path.ancestors().take_while(|place| place.starts_with(workspace)) {
        let Ok(meta) = open_in_workspace(workspace, place).and_then(|place| File::from(place).metadata())
        else {
            continue;
        };
        let writes = |user: &&User| {
            let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
            meta.uid() == uid || (meta.gid() == gid && meta.mode() & 0o020 != 0)
        };
        if let Some(user) = exposed.iter().find(writes) {
            let (place, user) = (place.display(), &user.name);
            return Ok(WorkspaceCopy::Foreign(format!(
                "{place} belongs to the account {user}, which faces the network"
            )));
        }
    }
    let directory = match open_in_workspace(workspace, path) {
        Ok(directory) => directory,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(WorkspaceCopy::Absent),
        Err(error) if error.raw_os_error().map(Errno::from_raw).is_some_and(dirfd::is_not_directory) => {
            return Ok(WorkspaceCopy::Foreign("a link or a file is in its place".to_owned()));
        }
        Err(error) => return Err(error).with_context(|| format!("cannot open {}", path.display())),
    };
    let marker = Marker::read(&directory).with_context(|| format!("cannot read {}", path.display()))?;
    Ok(match marker {
        Some(marker) if marker.tree == tree.name => WorkspaceCopy::Complete(marker),
        Some(marker) => WorkspaceCopy::Foreign(format!("a copy of {:?} is in its place", marker.tree)),
        None => {
            WorkspaceCopy::Foreign("a directory not created by workspace-sync is in its place".to_owned())
        }
    })
}

/// Opens a directory of the workspace without following a link below the workspace's root.
pub fn open_in_workspace(workspace: &Path, path: &Path) -> io::Result<OwnedFd> {
    let root = dirfd::open_root(workspace)?;
    let relative = path.strip_prefix(workspace).map_err(|_| io::Error::from(io::ErrorKind::InvalidInput))?;
    Ok(dirfd::open_beneath(root, relative)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::copy_marker::tests::marker;
    use std::fs;
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    #[test]
    fn only_a_marked_directory_of_this_tree_is_a_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, workspace) = (dir.path().join("opt"), dir.path().join("ws"));
        fs::create_dir_all(opt.join(".image/x")).unwrap();
        let tree = TreePaths::new("x", &opt, &workspace, "slug");
        let look = || inspect_copy(&tree, &workspace, &tree.copy).unwrap();
        assert_eq!(look(), WorkspaceCopy::Absent, "a workspace that is not there has no copies");
        fs::create_dir_all(&tree.copy).unwrap();
        assert_eq!(
            look(),
            WorkspaceCopy::Foreign("a directory not created by workspace-sync is in its place".into())
        );
        let mut marker = Marker { tree: "y".into(), ..marker() };
        let file = tree.copy.join(crate::reserved_names::MARKER);
        fs::write(&file, marker.render().unwrap()).unwrap();
        assert_eq!(look(), WorkspaceCopy::Foreign("a copy of \"y\" is in its place".into()));
        marker.tree = "x".into();
        fs::write(&file, marker.render().unwrap()).unwrap();
        assert_eq!(look(), WorkspaceCopy::Complete(marker));
        fs::rename(&tree.copy, workspace.join("moved")).unwrap();
        symlink("moved", &tree.copy).unwrap();
        assert_eq!(look(), WorkspaceCopy::Foreign("a link or a file is in its place".into()));
    }

    #[test]
    fn what_an_account_that_faces_the_network_can_replace_is_no_copy() {
        let dir = tempfile::tempdir().unwrap();
        let (opt, workspace) = (dir.path().join("opt"), dir.path().join("ws"));
        let tree = TreePaths::new("micromamba", &opt, &workspace, "slug");
        let portal = User { name: "portal".into(), ..User::from_name("nobody").unwrap().unwrap() };
        let (uid, gid) = (portal.uid.as_raw(), portal.gid.as_raw());
        let exposed = [portal];
        let look = || copy_beside(&exposed, &tree, &workspace, &tree.copy).unwrap();
        fs::create_dir_all(&tree.parent).unwrap();
        assert_eq!(look(), WorkspaceCopy::Absent);
        let refusal = |place: &Path| {
            WorkspaceCopy::Foreign(format!(
                "{} belongs to the account portal, which faces the network",
                place.display()
            ))
        };
        for made in [false, true] {
            if made {
                fs::create_dir(&tree.copy).unwrap();
            }
            for place in [&tree.copy, &tree.parent, &workspace].into_iter().filter(|place| place.exists()) {
                for (owner, group, mode, refused) in
                    [(uid, 0, 0o755, true), (0, gid, 0o775, true), (0, gid, 0o755, false)]
                {
                    chown(place, Some(owner), Some(group)).unwrap();
                    fs::set_permissions(place, fs::Permissions::from_mode(mode)).unwrap();
                    assert_eq!(look() == refusal(place), refused, "{} {owner} {mode:o}", place.display());
                }
                chown(place, Some(0), Some(0)).unwrap();
            }
        }
    }
}
