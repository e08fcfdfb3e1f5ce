//! Directories below `$WORKSPACE/remote`, and what is mounted on them.

use std::path::{Path, PathBuf};
use std::{fs, io};

use anyhow::{Context, Result};
use kit::mounts;
use rustix::mount::{UnmountFlags, unmount};
use workspace::Workspace;

/// Type of rclone's mounts in the kernel's table.
const FILE_SYSTEM: &str = "fuse.rclone";

/// Directory of all mount points, as the kernel's table has it.
pub struct RemoteDirectory {
    workspace: PathBuf,
    path: PathBuf,
}

impl RemoteDirectory {
    /// The directory of this workspace; nothing is created yet.
    pub fn new(mut workspace: Workspace) -> Self {
        workspace.path = fs::canonicalize(&workspace.path).unwrap_or(workspace.path);
        Self { path: workspace.remote(), workspace: workspace.path }
    }

    /// Path at which a remote is mounted.
    pub fn mount_point(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Creates the mount point of a remote. Only root can write to it, so that programs which write while nothing is
    /// mounted fail instead of filling the volume. It is never removed, because that would detach what another container
    /// has mounted there on a shared volume (rmdir(2) of a mount point in another namespace).
    pub fn create(&self, name: &str) -> Result<()> {
        let create = || {
            let workspace = dirfd::open_root(&self.workspace)?;
            let (remote, _) = dirfd::create_dir(workspace, "remote", 0o755)?;
            dirfd::create_dir(remote, name, 0o555).map(drop)
        };
        create().with_context(|| format!("cannot create {}", self.mount_point(name).display()))
    }

    /// Detaches what rclone has mounted for a remote; nothing waits for a server.
    pub fn detach(&self, name: &str) -> Result<()> {
        let path = self.mount_point(name);
        self.mounted()?.into_iter().filter(|point| *point == path).try_for_each(|point| detach(&point))
    }

    /// Detaches everything that an earlier rclone has mounted here.
    pub fn detach_all(&self) -> Result<()> {
        self.mounted()?.into_iter().try_for_each(|point| detach(&point))
    }

    fn mounted(&self) -> Result<Vec<PathBuf>> {
        let table = mounts::all().context("cannot read the table of mounts")?;
        let ours =
            table.into_iter().filter(|mount| mount.file_system == FILE_SYSTEM).map(|mount| mount.point);
        Ok(ours.filter(|point| point.parent() == Some(&self.path)).collect())
    }
}

/// Detaches the topmost mount at a path.
fn detach(path: &Path) -> Result<()> {
    unmount(path, UnmountFlags::DETACH | UnmountFlags::NOFOLLOW)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot unmount {}", path.display()))
}
