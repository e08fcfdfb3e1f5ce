//! `/opt` is shared with the group, and has no programs that give their rights away.

use std::os::unix::ffi::OsStrExt;
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

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let mut findings = set_user_id_programs(Path::new(OPT))?;
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
    use std::fs;
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
}
