//! Mount points of this container, from the kernel's table of mounts.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Path, PathBuf};

/// True if `path` is on a volume of its own: a mount point other than the container's root is at or above it.
///
/// `mountinfo` is the text of `/proc/self/mountinfo`; `path` contains no links.
pub fn is_on_volume(mountinfo: &[u8], path: &Path) -> bool {
    points(mountinfo).any(|mount_point| mount_point != Path::new("/") && path.starts_with(&mount_point))
}

/// Returns the mount points of this container, without its root. Device numbers are not enough: with some storage
/// drivers (btrfs, vfs), a mounted file has the device number of the container.
#[must_use]
pub fn mount_points() -> Vec<PathBuf> {
    let mountinfo = fs::read("/proc/self/mountinfo").unwrap_or_default();
    points(&mountinfo).filter(|point| point != Path::new("/")).collect()
}

/// Returns the mount points at or below `path`, which contains no links; `path` itself comes first.
pub fn mounts_below(path: &Path) -> io::Result<Vec<PathBuf>> {
    let mountinfo = fs::read("/proc/self/mountinfo")?;
    let mut within: Vec<PathBuf> = points(&mountinfo).filter(|point| point.starts_with(path)).collect();
    within.sort();
    Ok(within)
}

/// Returns all mount points, including `/`.
fn points(mountinfo: &[u8]) -> impl Iterator<Item = PathBuf> {
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(unescape)
}

/// proc(5): space, tab, newline and backslash in a mount point are written as octal escapes.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, behind)) = rest.split_first() {
        let octal = (first == b'\\').then(|| behind.get(..3)).flatten().and_then(from_octal);
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = &behind[3..];
            }
            None => {
                bytes.push(first);
                rest = behind;
            }
        }
    }
    OsString::from_vec(bytes).into()
}

fn from_octal(digits: &[u8]) -> Option<u8> {
    u8::from_str_radix(OsStr::from_bytes(digits).to_str()?, 8).ok()
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
            assert!(is_on_volume(MOUNTS, Path::new(path)), "{path}");
        }
        for path in ["/work", "/workspace2", "/my", "/"] {
            assert!(!is_on_volume(MOUNTS, Path::new(path)), "{path}");
        }
    }

    #[test]
    fn mount_points_are_read_as_the_kernel_escapes_them() {
        assert_eq!(unescape(br"/a\040b\134c\012\9"), Path::new("/a b\\c\n\\9"));
    }
}
