//! Owners and modes of files with secrets, as ARCHITECTURE.md lists them.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;

use anyhow::Result;
use uzers::{get_group_by_name, get_user_by_name};

use crate::context::Context;
use crate::finding::Finding;

/// A file or directory with secrets.
#[derive(Debug, Clone, Copy)]
struct SecretFile {
    path: &'static str,
    owner: &'static str,
    /// Group that has access; `None` if none has.
    group: Option<&'static str>,
    /// Most permissions that it may have.
    mode: u32,
}

const fn private(path: &'static str, owner: &'static str) -> SecretFile {
    SecretFile { path, owner, group: None, mode: 0o600 }
}

const fn read_by(path: &'static str, group: &'static str) -> SecretFile {
    SecretFile { path, owner: "root", group: Some(group), mode: 0o640 }
}

const FILES: [SecretFile; 20] = [
    read_by(env_store::PATH, "leonardo"),
    private(web_login::PATH, "portal"),
    private(web_login::FALLBACK_PATH, "portal"),
    private("/opt/leonardo/etc/user_password.digest", "root"),
    private("/run/leonardo/authorized_keys", "root"),
    read_by("/run/cloudflared/token", "cloudflared"),
    private("/var/lib/leonardo/container", "root"),
    SecretFile { path: "/var/lib/portal", owner: "portal", group: None, mode: 0o700 },
    SecretFile { path: "/var/lib/caddy-tls", owner: "root", group: Some("caddy"), mode: 0o750 },
    SecretFile { path: "/etc/rclone/rclone.conf", owner: "", group: Some("leonardo"), mode: 0o660 },
    SecretFile { path: "/etc/sudoers.d/leonardo-user", owner: "root", group: Some("root"), mode: 0o440 },
    private("/etc/ssh/ssh_host_ed25519_key", "root"),
    private("/etc/ssh/ssh_host_ecdsa_key", "root"),
    SecretFile { path: "/var/log/supervisor", owner: "root", group: Some("adm"), mode: 0o2750 },
    read_by("/var/log/logtail.log", "leonardo"),
    read_by("/var/log/config.log", "adm"),
    read_by("/var/log/sync.log", "adm"),
    read_by("/var/log/preflight.log", "adm"),
    read_by("/var/log/provisioning.log", "adm"),
    read_by("/run/leonardo/boot.confided.json", "adm"),
];

/// Runs the check.
pub fn check(_: &Context) -> Result<Vec<Finding>> {
    let mut findings = Vec::new();
    let mut checked = 0;
    for file in FILES {
        let meta = match fs::symlink_metadata(file.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
            // Only root sees some of them, which is as it should be.
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => continue,
            meta => meta?,
        };
        let owner = get_user_by_name(file.owner).map(|user| user.uid());
        let group = file.group.and_then(get_group_by_name).map(|group| group.gid());
        checked += 1;
        findings.extend(fault(&file, (owner, group), meta.uid(), meta.gid(), meta.mode() & 0o7777));
    }
    findings.push(Finding::pass(format!("{checked} files with secrets have their owners and modes")));
    Ok(findings)
}

/// Compares owner, group and mode of a file with those that it should have.
fn fault(
    file: &SecretFile,
    (owner, group): (Option<u32>, Option<u32>),
    uid: u32,
    gid: u32,
    mode: u32,
) -> Option<Finding> {
    let SecretFile { path, owner: owner_name, group: group_name, mode: allowed } = *file;
    // Root may always own it. A group matters if it has access.
    let wrong_owner = owner.is_some_and(|owner| owner != uid && uid != 0);
    let wrong_group = mode & 0o070 != 0 && group.is_some_and(|group| group != gid && gid != 0);
    let seen = if mode & 0o777 & !allowed != 0 {
        let others = if mode & 0o007 != 0 { "everyone" } else { "its group" };
        format!("{path} has mode {mode:04o}, at most {allowed:04o} is safe: {others} can use it")
    } else if wrong_owner || wrong_group {
        format!("{path} belongs to {uid}:{gid}")
    } else if !matches!(owner_name, "root" | "") && (owner != Some(uid) || mode & 0o400 == 0) {
        format!("{path} belongs to {uid}:{gid} and has mode {mode:04o}: {owner_name} cannot use it")
    } else {
        return None;
    };
    let owners = match group_name {
        Some(group) => format!("{owner_name}:{group}"),
        None => owner_name.to_owned(),
    };
    Some(Finding::fail(seen, format!("sudo chown {owners} {path}; sudo chmod {allowed:04o} {path}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_safe_with_at_most_its_permissions_and_only_for_its_accounts() {
        let file = read_by("/s", "leonardo");
        let remedy = "sudo chown root:leonardo /s; sudo chmod 0640 /s";
        let mode = |mode: &str, who: &str| {
            let seen = format!("/s has mode {mode}, at most 0640 is safe: {who} can use it");
            Some(Finding::fail(seen, remedy))
        };
        let owned = |ids: &str| Some(Finding::fail(format!("/s belongs to {ids}"), remedy));
        for (uid, gid, found, expected) in [
            (0, 1111, 0o640, None),
            (0, 1111, 0o400, None),
            (0, 1000, 0o600, None),
            (0, 1111, 0o644, mode("0644", "everyone")),
            (0, 1111, 0o660, mode("0660", "its group")),
            (1000, 1111, 0o640, owned("1000:1111")),
            (0, 1000, 0o640, owned("0:1000")),
        ] {
            assert_eq!(
                fault(&file, (Some(0), Some(1111)), uid, gid, found),
                expected,
                "{uid} {gid} {found:o}"
            );
        }
        let file = private("/p", "portal");
        let of_portal = |uid, mode| fault(&file, (Some(7), None), uid, 7, mode).map(|finding| finding.seen);
        assert_eq!(of_portal(7, 0o600), None);
        for (uid, mode) in [(7, 0), (0, 0o600)] {
            let expected = format!("/p belongs to {uid}:7 and has mode {mode:04o}: portal cannot use it");
            assert_eq!(of_portal(uid, mode), Some(expected));
        }
    }
}
