//! Changes of rclone's configuration, and access to its file.

use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use kit::account_db::AccountDb;
use kit::missing_ok;
use nix::fcntl::{OFlag, open};
use nix::sys::stat::Mode;

/// Inode, size and modification time of a file; nothing while it is missing.
type Version = Option<(u64, u64, i64, i64)>;

/// Detects changes of files by their metadata.
#[derive(Default)]
pub struct Changes {
    seen: Vec<Version>,
    applied: Option<Vec<Version>>,
}

impl Changes {
    /// True at the first call and after a change, once two calls have seen the same state: an editor may empty a file
    /// before it writes.
    pub fn detect(&mut self, files: &[PathBuf]) -> bool {
        let seen: Vec<Version> = files.iter().map(|path| version(path)).collect();
        let is_stable = self.applied.is_none() || seen == self.seen;
        self.seen.clone_from(&seen);
        let is_due = is_stable && self.applied.as_ref() != Some(&seen);
        if is_due {
            self.applied = Some(seen);
        }
        is_due
    }
}

fn version(path: &Path) -> Version {
    let meta = fs::metadata(path).ok()?;
    Some((meta.ino(), meta.size(), meta.mtime(), meta.mtime_nsec()))
}

/// Gives the group `leonardo` access to a file that rclone has replaced as root, which keeps the mode 0600 that the
/// system user's `rclone config` chose. A file of another group, such as a mounted one, is not changed.
pub fn share_with_group(path: &Path) -> Result<()> {
    let accounts = AccountDb::read()?;
    let Some(group) = accounts.group("leonardo") else { return Ok(()) };
    share(path, group.gid)
}

fn share(path: &Path, group: u32) -> Result<()> {
    let flags = OFlag::O_RDONLY | OFlag::O_NOFOLLOW | OFlag::O_NONBLOCK | OFlag::O_CLOEXEC;
    let cannot = || format!("cannot open {} to the group leonardo", path.display());
    let opened = open(path, flags, Mode::empty()).map_err(std::io::Error::from);
    let Some(opened) = missing_ok(opened).with_context(cannot)? else { return Ok(()) };
    let file = fs::File::from(opened);
    let meta = file.metadata().with_context(cannot)?;
    // A second name may be a file of root elsewhere.
    let is_rclones = meta.is_file() && meta.uid() == 0 && meta.gid() == group && meta.nlink() == 1;
    if is_rclones && meta.mode() & 0o060 != 0o060 {
        file.set_permissions(Permissions::from_mode(0o660)).with_context(cannot)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{chown, symlink};

    use super::*;

    #[test]
    fn a_change_counts_once_and_only_when_it_has_ended() {
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("rclone.conf");
        let files = [file.clone()];
        let mut changes = Changes::default();
        let mut detect = || changes.detect(&files);
        assert_eq!([detect(), detect()], [true, false], "the first call counts, also without a file");
        fs::write(&file, "[a]").unwrap();
        assert_eq!([detect(), detect(), detect()], [false, true, false]);
        fs::write(&file, "").unwrap();
        assert!(!detect());
        fs::write(&file, "[a]\n[b]").unwrap();
        assert_eq!([detect(), detect(), detect()], [false, true, false]);
        fs::remove_file(&file).unwrap();
        assert_eq!([detect(), detect()], [false, true]);
    }

    #[test]
    fn only_a_file_that_rclone_wrote_as_root_is_opened_to_the_group() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        let make = |name: &str, uid: u32, gid: u32| {
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), Permissions::from_mode(0o600)).unwrap();
            chown(path(name), Some(uid), Some(gid)).unwrap();
        };
        let mode = |name: &str| fs::metadata(path(name)).unwrap().mode() & 0o777;
        make("rclone", 0, 1111);
        make("users", 1000, 1111);
        make("mounted", 0, 0);
        make("linked", 0, 1111);
        fs::hard_link(path("linked"), path("second name")).unwrap();
        make("target", 0, 1111);
        symlink(path("target"), path("link")).unwrap();
        for name in ["rclone", "users", "mounted", "linked", "second name"] {
            share(&path(name), 1111).unwrap();
        }
        assert!(share(&path("link"), 1111).is_err());
        share(&path("missing"), 1111).unwrap();
        assert_eq!(
            ["rclone", "users", "mounted", "linked", "target"].map(mode),
            [0o660, 0o600, 0o600, 0o600, 0o600]
        );
    }
}
