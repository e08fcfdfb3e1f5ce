//! Mount points of this container, from the kernel's table of mounts.

use std::io;
use std::path::{Path, PathBuf};

use kit::mounts::{self, Mount};

/// True if `path`, which contains no links, is on a volume of its own: a mount point other than the container's root is at
/// or above it.
pub fn is_on_volume(mounts: &[Mount], path: &Path) -> bool {
    mounts.iter().any(|mount| mount.point != Path::new("/") && path.starts_with(&mount.point))
}

/// Returns the mount points of this container, without its root. Device numbers are not enough: with some storage
/// drivers (btrfs, vfs), a mounted file has the device number of the container.
#[must_use]
pub fn mount_points() -> Vec<PathBuf> {
    let points = mounts::all().unwrap_or_default().into_iter().map(|mount| mount.point);
    points.filter(|point| point != Path::new("/")).collect()
}

/// Returns the mount points at or below `path`, which contains no links; `path` itself comes first.
pub fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let points = mounts::all()?.into_iter().map(|mount| mount.point);
    let mut within: Vec<PathBuf> = points.filter(|point| point.starts_with(path)).collect();
    within.sort();
    Ok(within)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MOUNTS: &[u8] = b"1 0 0:1 / / rw - overlay overlay rw\n\
        2 1 8:1 /x /workspace rw - ext4 /dev/sda rw\n\
        3 1 8:1 /y /my\\040data rw - ext4 /dev/sda rw\n";

    #[test]
    fn a_volume_at_or_above_the_workspace_counts() {
        for path in ["/workspace", "/workspace/deep/er", "/my data/ws"] {
            assert!(is_on_volume(&mounts::parse(MOUNTS), Path::new(path)), "{path}");
        }
        for path in ["/work", "/workspace2", "/my", "/"] {
            assert!(!is_on_volume(&mounts::parse(MOUNTS), Path::new(path)), "{path}");
        }
    }
}
