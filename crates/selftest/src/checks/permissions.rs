//! `/opt` is shared with the group, has no programs that give their rights away, and none of root's that others can change.

use std::fs;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};
use dirfd::walk::{Descend, walk_tree};
use fix_perms::{Summary, Tree, fix_tree};
use nix::errno::Errno;
use uzers::get_group_by_name;

use crate::context::Context;
use crate::finding::Finding;

const OPT: &str = "/opt";
const SET_USER_ID: u32 = 0o4000;
/// Directories with programs and configuration of root's services.
const OF_ROOT: [&str; 7] = [
    "/opt/caddy/bin",
    "/opt/caddy/share",
    "/opt/leonardo",
    "/opt/supervisor",
    "/etc/supervisor",
    "/usr/lib/leonardo",
    "/usr/local/bin",
];

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let mut findings = set_user_id_programs(Path::new(OPT))?;
    for directory in OF_ROOT {
        findings.extend(writable_by_all(Path::new(directory))?);
    }
    let gid = get_group_by_name("leonardo").context("group leonardo does not exist")?.gid();
    let tree = Tree::Container { path: OPT.into(), gid };
    let summary = fix_tree(&tree, true, &|_| Ok(()))?;
    findings.push(shared(&summary, context.is_root));
    Ok(findings)
}

fn shared(summary: &Summary, is_root: bool) -> Finding {
    match summary.changed() {
        0 => {
            // Programs may keep private files there.
            let private = summary.private.as_ref().map_or(0, |private| private.count);
            let shared = summary.entries.saturating_sub(private);
            Finding::pass(match private {
                0 => format!("{shared} entries of /opt are shared with the group"),
                _ => format!(
                    "{shared} entries of /opt are shared with the group, only root can read {private}"
                ),
            })
        }
        // It sees no private directories.
        _ if !is_root => Finding::skip("needs root: sudo selftest permissions"),
        1 => Finding::warn("1 entry of /opt is not shared with the group", "sudo fix-perms --only container"),
        count => Finding::warn(
            format!("{count} entries of /opt are not shared with the group"),
            "sudo fix-perms --only container",
        ),
    }
}

/// Returns the finding about files and directories that every account can change, and with them what root runs.
fn writable_by_all(directory: &Path) -> Result<Option<Finding>> {
    let cannot = || format!("cannot read {}", directory.display());
    let is_open = |mode: u32, kind: dirfd::FileType| {
        mode & 0o002 != 0 && mode & 0o1000 == 0 && kind != dirfd::FileType::Symlink
    };
    let top = match fs::metadata(directory) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        meta => meta.with_context(cannot)?,
    };
    let mut open: Vec<PathBuf> = Vec::new();
    if is_open(top.mode(), dirfd::FileType::Directory) {
        open.push(directory.to_owned());
    }
    let root = dirfd::open_root(directory).with_context(cannot)?;
    let walked: Result<(), Errno> = walk_tree(root, &mut |entry| {
        if is_open(entry.stat.st_mode, entry.kind()) {
            open.push(directory.join(entry.name));
        }
        Ok(Descend::Enter)
    });
    match walked {
        Err(Errno::EACCES) => {}
        walked => walked.with_context(cannot)?,
    }
    let fault = |path: &Path, more: &str, option: &str, target: &Path| {
        Finding::fail(
            format!("every account can change {}{more}, which root runs or reads", path.display()),
            format!("sudo chmod {option}o-w {}", target.display()),
        )
    };
    Ok(match &open[..] {
        [] => None,
        [path] => Some(fault(path, "", "", path)),
        [first, others @ ..] => {
            let is_above = others.iter().all(|other| other.starts_with(first));
            let target = if is_above { first } else { directory };
            Some(fault(first, &format!(" and {} more", others.len()), "-R ", target))
        }
    })
}

/// Returns a finding for each program that runs as another user than its caller.
fn set_user_id_programs(opt: &Path) -> Result<Vec<Finding>> {
    let mut found: Vec<PathBuf> = Vec::new();
    let root = dirfd::open_root(opt).with_context(|| format!("cannot open {}", opt.display()))?;
    let walked: Result<(), Errno> = walk_tree(root, &mut |entry| {
        if entry.kind() == dirfd::FileType::RegularFile
            && entry.stat.st_mode & SET_USER_ID != 0
            && entry.stat.st_mode & 0o111 != 0
        {
            found.push(opt.join(entry.name));
        }
        // Vendors' trees have hundreds of thousands of files.
        let is_vendor = [&b"rocm"[..], b"amdgpu", b"nvidia"];
        let top = entry.name.as_os_str().as_bytes();
        Ok(if is_vendor.iter().any(|vendor| top.starts_with(vendor)) {
            Descend::Skip
        } else {
            Descend::Enter
        })
    });
    match walked {
        Err(Errno::EACCES) => {}
        walked => walked.with_context(|| format!("cannot walk {}", opt.display()))?,
    }
    Ok(found
        .iter()
        .map(|path| {
            let path = path.display();
            Finding::warn(
                format!("{path} runs with its owner's rights (set-user-ID)"),
                format!("sudo chmod u-s {path}"),
            )
        })
        .collect())
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_set_user_id_program_is_found_and_a_file_that_is_no_program_is_not() {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir_all(dir.path().join("a/b")).unwrap();
        for (name, mode) in [("a/b/tool", 0o4755), ("a/data", 0o4644), ("plain", 0o755)] {
            fs::write(dir.path().join(name), "").unwrap();
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        let path = dir.path().join("a/b/tool").display().to_string();
        assert_eq!(
            set_user_id_programs(dir.path()).unwrap(),
            [Finding::warn(
                format!("{path} runs with its owner's rights (set-user-ID)"),
                format!("sudo chmod u-s {path}")
            )]
        );
    }

    #[test]
    fn what_every_account_can_change_has_its_exact_remedy() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |name: &str, mode| {
            fs::set_permissions(dir.path().join(name), fs::Permissions::from_mode(mode)).unwrap();
        };
        fs::create_dir(dir.path().join("bin")).unwrap();
        fs::write(dir.path().join("bin/tool"), "").unwrap();
        std::os::unix::fs::symlink("tool", dir.path().join("bin/link")).unwrap();
        mode("bin/tool", 0o775);
        let found = || writable_by_all(dir.path()).unwrap();
        assert_eq!((found(), writable_by_all(Path::new("/no/such")).unwrap()), (None, None));
        mode("bin/tool", 0o777);
        let at = dir.path().display().to_string();
        let seen = |path: &str| format!("every account can change {at}{path}, which root runs or reads");
        let one = Finding::fail(seen("/bin/tool"), format!("sudo chmod o-w {at}/bin/tool"));
        assert_eq!(found(), Some(one));
        mode("bin", 0o777);
        let both = Finding::fail(seen("/bin and 1 more"), format!("sudo chmod -R o-w {at}/bin"));
        assert_eq!(found(), Some(both));
        mode("bin", 0o1777);
        assert!(found().is_some_and(|finding| finding.seen == seen("/bin/tool")), "a sticky directory");
    }
}
