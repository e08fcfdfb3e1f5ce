//! Mounts whose server does not respond: network volumes and FUSE.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::time::Duration;

use kit::Env;
use kit::mounts::{self, Mount};
use kit::wait;
use workspace::DEFAULT_PATH;

use crate::finding::Finding;

/// Time for the answers of all mounts, which are asked at once.
const DEADLINE: Duration = Duration::from_secs(2);
/// Mounts of the kernel and the engine.
const OWN: [&str; 4] = ["/proc", "/sys", "/dev", "/etc"];

/// Returns a finding that names the mounts that do not respond; `None` if all do. They are asked once.
pub fn finding(limit: Duration) -> Option<Finding> {
    static HUNG: OnceLock<Vec<Mount>> = OnceLock::new();
    let hung = HUNG.get_or_init(|| {
        let env = env_store::session_env(Env::from_process(), Path::new(env_store::PATH));
        let workspace = PathBuf::from(env.text("WORKSPACE").unwrap_or(DEFAULT_PATH));
        silent(candidates(mounts::all().unwrap_or_default(), &workspace.join("remote")))
    });
    describe(hung, limit)
}

/// Leaves out what needs no server, and remotes, which `rclone` watches.
fn candidates(mounts: Vec<Mount>, remotes: &Path) -> Vec<Mount> {
    let is_asked = |mount: &Mount| {
        mount.point != Path::new("/")
            && !mount.point.starts_with(remotes)
            && !OWN.iter().any(|own| mount.point.starts_with(own))
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

fn describe(hung: &[Mount], limit: Duration) -> Option<Finding> {
    let first = hung.first()?;
    let names = hung.iter().map(|mount| format!("{} ({})", mount.point.display(), mount.file_system));
    let verb = if hung.len() == 1 { "does" } else { "do" };
    Some(Finding::fail(
        format!(
            "it did not end in {} seconds: {} {verb} not respond",
            limit.as_secs(),
            names.collect::<Vec<_>>().join(", ")
        ),
        format!(
            "check the server and the network of {}; then restart the container: docker restart NAME",
            first.point.display()
        ),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mount(point: &str) -> Mount {
        Mount { root: "/".into(), point: point.into(), file_system: "nfs4".into(), options: String::new() }
    }

    #[test]
    fn volumes_are_asked_and_remotes_and_the_kernels_mounts_are_not() {
        let all = ["/", "/proc/x", "/etc/hosts", "/devices", "/w", "/w/remote/a", "/w/remotes"].map(mount);
        let asked = candidates(all.to_vec(), Path::new("/w/remote"));
        assert_eq!(asked, ["/devices", "/w", "/w/remotes"].map(mount));
        assert_eq!(silent(vec![mount("/"), mount("/no/such")]), []);
    }

    #[test]
    fn every_hung_mount_is_named() {
        let limit = Duration::from_secs(10);
        assert_eq!(describe(&[], limit), None);
        assert_eq!(
            describe(&[mount("/w"), mount("/data")], limit),
            Some(Finding::fail(
                "it did not end in 10 seconds: /w (nfs4), /data (nfs4) do not respond",
                "check the server and the network of /w; then restart the container: docker restart NAME"
            ))
        );
    }
}
