//! The workspace: where it is, whose it is, and whether it outlives the container.

use std::ffi::OsString;
use std::fs;
use std::io;
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use kit::atomic::{self, Placement};
use kit::{Env, Problem};

/// The uid of the system user where the workspace belongs to root.
const DEFAULT_ID: u32 = 1000;
const WARNING: &str = "WARNING-NO-MOUNT.txt";
const WARNING_TEXT: &str = "\
This directory is not a mounted volume. Everything in it is lost when the container is removed.
To keep files, mount a volume here: docker run -v /path/on/the/host:/workspace …
";

/// Facts about the workspace.
#[derive(Debug, PartialEq, Eq)]
pub struct Workspace {
    /// Where it is, without a trailing slash.
    pub path: PathBuf,
    /// The user to whom new files shall be accessible: the owner, or 1000 where that is root.
    pub uid: u32,
    /// The owner's group, or 1000 where that is root's.
    pub gid: u32,
    /// Whether it is on a mounted volume.
    pub mounted: bool,
}

impl Workspace {
    /// Tells programs; the trailing slash is the documented form and suits `$WORKSPACE/x` as well.
    pub fn export(&self, env: &mut Env) {
        let mut path = self.path.clone().into_os_string();
        path.push("/");
        env.set("WORKSPACE", path);
        env.set("WORKSPACE_UID", self.uid.to_string());
        env.set("WORKSPACE_GID", self.gid.to_string());
        env.set("WORKSPACE_MOUNTED", self.mounted.to_string());
    }
}

/// Looks at the workspace and leaves a warning where files in it would be lost; a boot never fails here.
pub fn prepare(path: &Path, problems: &mut Vec<Problem>) -> Workspace {
    let mut complain = |what: &str, error: &io::Error| {
        problems.push(Problem::new("WORKSPACE", format!("{what} {}: {error}", path.display())));
    };
    if let Err(error) = fs::create_dir_all(path) {
        complain("cannot create", &error);
    }
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    let mounted = is_mounted(&mounts, &fs::canonicalize(path).unwrap_or_else(|_| path.to_owned()));
    let (uid, gid) = fs::metadata(path).map_or((0, 0), |meta| (meta.uid(), meta.gid()));
    let workspace =
        Workspace { path: path.to_owned(), uid: own_or_default(uid), gid: own_or_default(gid), mounted };
    if let Err(error) = nix::unistd::access(path, nix::unistd::AccessFlags::W_OK) {
        complain("cannot write to", &error.into());
    } else if let Err(error) = mark(path, mounted) {
        problems.push(Problem::new("WORKSPACE", format!("{error:#}")));
    }
    if !mounted {
        problems.push(Problem::new(
            "WORKSPACE",
            format!("{} is not a mounted volume: files in it are lost with the container", path.display()),
        ));
    }
    workspace
}

fn own_or_default(id: u32) -> u32 {
    if id == 0 { DEFAULT_ID } else { id }
}

/// Writes the warning file, or removes our own warning from a volume that is mounted now.
fn mark(path: &Path, mounted: bool) -> anyhow::Result<()> {
    let file = path.join(WARNING);
    if !mounted {
        return atomic::write_if_changed(&file, WARNING_TEXT.as_bytes(), Placement::durable(0o644)).map(drop);
    }
    if atomic::holds(&file, WARNING_TEXT.as_bytes()) {
        fs::remove_file(&file)?;
    }
    Ok(())
}

/// Whether `path` is on a volume of its own: the deepest mount point above it is not the container's root.
fn is_mounted(mountinfo: &[u8], path: &Path) -> bool {
    mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(|line| line.split(|&byte| byte == b' ').nth(4))
        .map(unescape)
        .any(|mount_point| mount_point != Path::new("/") && path.starts_with(&mount_point))
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
    u8::from_str_radix(std::ffi::OsStr::from_bytes(digits).to_str()?, 8).ok()
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
            assert!(is_mounted(MOUNTS, Path::new(path)), "{path}");
        }
        for path in ["/work", "/workspace2", "/my", "/"] {
            assert!(!is_mounted(MOUNTS, Path::new(path)), "{path}");
        }
    }

    #[test]
    fn mount_points_are_read_as_the_kernel_escapes_them() {
        assert_eq!(unescape(br"/a\040b\134c\012\9"), Path::new("/a b\\c\n\\9"));
    }

    #[test]
    fn the_warning_comes_and_goes_with_the_mount_and_a_users_file_stays() {
        let dir = tempfile::tempdir().unwrap();
        let warning = dir.path().join(WARNING);
        mark(dir.path(), false).unwrap();
        assert_eq!(fs::read_to_string(&warning).unwrap(), WARNING_TEXT);
        mark(dir.path(), true).unwrap();
        assert!(!warning.exists());
        fs::write(&warning, "my own").unwrap();
        mark(dir.path(), true).unwrap();
        assert_eq!(fs::read_to_string(&warning).unwrap(), "my own");
    }
}
