//! The workspace: mounted, and writable for the system user.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use anyhow::Result;
use kit::account_db::{AccountDb, User};
use kit::mounts::{self, Mount};
use kit::privileges;
use nix::errno::Errno;
use nix::libc::O_TMPFILE;
use nix::sys::statvfs::{FsFlags, statvfs};

use crate::context::Context;
use crate::finding::Finding;

/// Bytes of the test file: more than what some file systems keep in an inode.
static TEST_BYTES: [u8; 64 * 1024] = [0x5a; 64 * 1024];
/// File systems without symbolic links and owners.
const SIMPLE: [&str; 4] = ["vfat", "exfat", "msdos", "ntfs"];

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let workspace = &context.workspace;
    let path = workspace.path.as_path();
    let mut findings = Vec::new();
    if !workspace.mounted {
        findings.push(Finding::warn(
            format!("{} is not a volume: its files are lost with the container", path.display()),
            format!("start the container with -v VOLUME:{}", path.display()),
        ));
    }
    let read_only = match statvfs(path) {
        Ok(answer) => answer.flags().contains(FsFlags::ST_RDONLY),
        Err(Errno::ENOENT) => {
            let missing = format!("{} does not exist", path.display());
            findings.push(Finding::fail(missing, format!("mkdir {}", path.display())));
            return Ok(findings);
        }
        Err(error) => return Ok(vec![Finding::fail(format!("{}: {error}", path.display()), "df -h")]),
    };
    let tried = if read_only {
        Err(io::Error::from(Errno::EROFS))
    } else {
        privileges::with_file_ids(workspace.uid, workspace.gid, || write_test(path))?
    };
    let kind = file_system(path, &mounts::all()?);
    findings.extend(judge(path, &tried, kind.as_deref()));
    if let Some(user) = AccountDb::read()?.user_of(workspace.uid) {
        let tried = privileges::with_file_ids(user.ids.uid, user.ids.gid, || write_test(&user.home))?;
        findings.extend(tried.err().and_then(|error| judge_home(user, &error)));
    }
    Ok(findings)
}

/// A full or broken disk is the other findings' matter.
fn judge_home(user: &User, error: &io::Error) -> Option<Finding> {
    let (name, home) = (&user.name, user.home.display());
    match error.raw_os_error().map(Errno::from_raw) {
        Some(Errno::EACCES | Errno::EPERM) => Some(Finding::fail(
            format!("{name:?} cannot write to its home {home}"),
            format!("sudo chown -R {name}: {home} && sudo chmod u+rwx {home}"),
        )),
        Some(Errno::ENOENT | Errno::ENOTDIR) => Some(Finding::fail(
            format!("the home of {name:?}, {home}, is missing: {error}"),
            "restart the container, which creates it",
        )),
        _ => None,
    }
}

/// Writes a file that has no name, so that nothing ever sees it. False if the file system cannot create such a file, or
/// does not keep modes.
fn write_test(workspace: &Path) -> io::Result<bool> {
    let opened = OpenOptions::new().write(true).mode(0o600).custom_flags(O_TMPFILE).open(workspace);
    let mut file: File = match opened {
        Err(error)
            if matches!(
                error.raw_os_error().map(Errno::from_raw),
                Some(Errno::EOPNOTSUPP | Errno::EISDIR)
            ) =>
        {
            return nix::unistd::eaccess(workspace, nix::unistd::AccessFlags::W_OK)
                .map(|()| true)
                .map_err(io::Error::from);
        }
        opened => opened?,
    };
    file.write_all(&TEST_BYTES)?;
    // Some servers report a full quota only now.
    file.sync_data()?;
    file.set_permissions(Permissions::from_mode(0o400))?;
    Ok(file.metadata()?.permissions().mode() & 0o777 == 0o400)
}

/// Returns the type of the file system of the longest mount point above a path.
fn file_system(path: &Path, mounts: &[Mount]) -> Option<String> {
    let above = mounts.iter().filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.components().count()).map(|mount| mount.file_system.clone())
}

fn judge(path: &Path, tried: &io::Result<bool>, file_system: Option<&str>) -> Vec<Finding> {
    let path = path.display();
    let kind = file_system.unwrap_or("unknown");
    match tried {
        Err(error) => vec![match error.raw_os_error().map(Errno::from_raw) {
            Some(Errno::ENOSPC | Errno::EDQUOT) => Finding::fail(
                format!("{path} is full: {error}"),
                format!("delete files; to find large directories, run: du -xhd2 {path} | sort -h | tail"),
            ),
            Some(Errno::EROFS) => Finding::fail(
                format!("{path} is mounted read-only"),
                format!("mount it writable: docker run -v VOLUME:{path}, without :ro"),
            ),
            Some(Errno::EACCES | Errno::EPERM) => Finding::fail(
                format!("the system user cannot write to {path}"),
                "sudo fix-perms --only workspace",
            ),
            _ => Finding::fail(format!("cannot write to {path}: {error}"), format!("df -h {path}")),
        }],
        Ok(true) if !SIMPLE.contains(&kind) => {
            vec![Finding::pass(format!("{path} ({kind}) is writable for the system user"))]
        }
        Ok(_) => vec![Finding::warn(
            format!(
                "{path} ({kind}) does not keep modes or symbolic links: environments cannot be kept there"
            ),
            "use a volume with a Linux file system",
        )],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_refusal_of_a_volume_has_its_remedy() {
        let path = Path::new("/w");
        for (error, seen, remedy) in [
            (
                Errno::ENOSPC,
                "/w is full: No space left on device (os error 28)",
                "delete files; to find large directories, run: du -xhd2 /w | sort -h | tail",
            ),
            (
                Errno::EROFS,
                "/w is mounted read-only",
                "mount it writable: docker run -v VOLUME:/w, without :ro",
            ),
            (Errno::EACCES, "the system user cannot write to /w", "sudo fix-perms --only workspace"),
            (Errno::EIO, "cannot write to /w: Input/output error (os error 5)", "df -h /w"),
        ] {
            let found = judge(path, &Err(io::Error::from(error)), Some("ext4"));
            assert_eq!(found, [Finding::fail(seen, remedy)]);
        }
        assert_eq!(
            judge(path, &Ok(true), Some("ext4")),
            [Finding::pass("/w (ext4) is writable for the system user")]
        );
        for (kept, kind) in [(false, "fuse"), (true, "exfat")] {
            let seen = format!(
                "/w ({kind}) does not keep modes or symbolic links: environments cannot be kept there"
            );
            assert_eq!(
                judge(path, &Ok(kept), Some(kind)),
                [Finding::warn(seen, "use a volume with a Linux file system")]
            );
        }
    }

    #[test]
    fn a_home_that_its_user_cannot_use_is_named_with_its_remedy() {
        let accounts = AccountDb::parse("ada:x:1000:1000::/w/home/ada:/bin/bash\n", "");
        let judged = |error| judge_home(accounts.user("ada").unwrap(), &io::Error::from(error));
        assert_eq!(
            judged(Errno::EACCES),
            Some(Finding::fail(
                "\"ada\" cannot write to its home /w/home/ada",
                "sudo chown -R ada: /w/home/ada && sudo chmod u+rwx /w/home/ada"
            ))
        );
        assert!(judged(Errno::ENOENT).is_some());
        assert_eq!(judged(Errno::ENOSPC), None);
    }

    #[test]
    fn a_write_leaves_nothing_behind() {
        let dir = tempfile::tempdir().unwrap();
        assert!(write_test(dir.path()).unwrap());
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
    }
}
