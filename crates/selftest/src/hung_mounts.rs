//! Mounts whose server does not respond: network volumes and FUSE.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kit::mounts::{self, Mount};
use kit::wait;

use crate::finding::Finding;

/// Time for the answers of all mounts, which are asked at once.
const DEADLINE: Duration = Duration::from_secs(2);
/// Starts of the names of file systems that have a server; others respond unless the container is overloaded.
const WITH_SERVER: [&str; 9] = ["nfs", "cifs", "smb", "fuse", "9p", "virtiofs", "ceph", "lustre", "gpfs"];

/// Returns a finding that names the mounts that do not respond; `None` if all do. They are asked once.
pub fn finding() -> Option<Finding> {
    static HUNG: OnceLock<Vec<Mount>> = OnceLock::new();
    let hung = HUNG.get_or_init(|| silent(candidates(mounts::all().unwrap_or_default())));
    describe(hung)
}

/// Leaves out what needs no server, and remotes, which `rclone` watches.
fn candidates(mounts: Vec<Mount>) -> Vec<Mount> {
    let is_asked = |mount: &Mount| {
        let has_server = WITH_SERVER.iter().any(|start| mount.file_system.starts_with(start));
        has_server && mount.file_system != "fuse.rclone"
    };
    mounts.into_iter().filter(is_asked).collect()
}

/// Returns the mounts that do not say how much is free. A process in such a call cannot always be killed, and is left behind.
fn silent(mounts: Vec<Mount>) -> Vec<Mount> {
    let asked = mounts.into_iter().filter_map(|mount| Some((ask(&mount.point)?, mount)));
    let mut asked: Vec<(Child, Mount)> = asked.collect();
    let _ = wait::until(DEADLINE, "the mounts", || {
        asked.retain_mut(|(child, _)| matches!(child.try_wait(), Ok(None)));
        asked.is_empty().then_some(())
    });
    asked.iter_mut().for_each(|(child, _)| drop(child.kill()));
    asked.into_iter().map(|(_, mount)| mount).collect()
}

fn ask(point: &Path) -> Option<Child> {
    let mut stat = Command::new("/usr/bin/stat");
    stat.args(["--file-system", "--"]).arg(point).current_dir("/");
    stat.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()
}

fn describe(hung: &[Mount]) -> Option<Finding> {
    let first = hung.first()?;
    let names = hung.iter().map(|mount| format!("{} ({})", mount.point.display(), mount.file_system));
    let verb = if hung.len() == 1 { "does" } else { "do" };
    Some(Finding::fail(
        format!("{} {verb} not respond", names.collect::<Vec<_>>().join(", ")),
        format!(
            "check the server and the network of {}; then restart the container: docker restart NAME",
            first.point.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str, file_system: &str) -> Mount {
        Mount {
            root: "/".into(),
            point: point.into(),
            file_system: file_system.into(),
            options: String::new(),
        }
    }

    #[test]
    fn mounts_with_a_server_are_asked_and_remotes_are_not() {
        let (root, remote) = (mount("/", "overlay"), mount("/w/remote/a", "fuse.rclone"));
        let served = [mount("/w", "nfs4"), mount("/w/remotes", "fuse.sshfs")];
        let all = [&[root.clone(), remote, mount("/etc/hosts", "ext4")][..], &served].concat();
        assert_eq!(candidates(all), served);
        assert_eq!(silent(vec![root, mount("/no/such", "nfs4")]), []);
    }

    #[test]
    fn every_hung_mount_is_named() {
        assert_eq!(describe(&[]), None);
        assert_eq!(
            describe(&[mount("/w", "nfs4"), mount("/data", "nfs4")]),
            Some(Finding::fail(
                "/w (nfs4), /data (nfs4) do not respond",
                "check the server and the network of /w; then restart the container: docker restart NAME"
            ))
        );
    }
}
