//! What belongs to one container alone, and must not be in a container made from its saved image (`docker commit`).
//!
//! The first start of a container finds the record of another one, or none, and removes all of it: each step of the
//! start then makes its own anew, as in a fresh image.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use env_store::Store;
use kit::Problem;
use kit::atomic::{self, Placement};

/// The container that the state is of, and behind it the names of the variables that its starts stored; one a line.
const RECORD: &str = "/var/lib/leonardo/container";

/// Everything in `directory` whose name begins like one of `names`, with or without the dot of a temporary file.
struct Trace {
    directory: &'static str,
    names: &'static [&'static str],
}

const EVERYTHING: &[&str] = &[""];
const TRACES: [Trace; 11] = [
    Trace { directory: "/run/leonardo", names: &["web_credentials.json", "authorized_keys"] },
    Trace { directory: "/etc/ssh", names: &["ssh_host_"] },
    Trace { directory: "/opt/leonardo/etc", names: &["web_credentials.json", "user_password.digest"] },
    Trace { directory: "/var/lib/portal", names: EVERYTHING },
    Trace { directory: "/var/lib/caddy", names: EVERYTHING },
    Trace { directory: "/var/lib/caddy-tls", names: EVERYTHING },
    Trace { directory: "/var/lib/leonardo", names: &["provisioning", "sync"] },
    // Not its ledger: it is of links, which were saved too.
    Trace { directory: "/var/lib/leonardo/storage-monitor", names: &["identity"] },
    Trace { directory: "/var/lib/logtail", names: EVERYTHING },
    Trace { directory: "/var/log/supervisor", names: EVERYTHING },
    Trace {
        directory: "/var/log",
        names: &["config.log", "sync.log", "preflight.log", "provisioning.log", "debug.log", "logtail.log"],
    },
];

/// Removes what another container left, before anything reads it.
pub fn settle(problems: &mut Vec<Problem>) {
    let container = kit::container::id().unwrap_or_default();
    let (former, stored) = read(Path::new(RECORD));
    if former.as_deref() == Some(&container) {
        return;
    }
    let mut done = forget(Path::new("/"), &mount_points());
    if !stored.is_empty() {
        done = done.and(unset(Path::new(env_store::PATH), &stored));
    }
    if let Err(error) = done.and_then(|()| write(Path::new(RECORD), &container, &[])) {
        problems
            .push(Problem::new("container", format!("state of another container may be left: {error:#}")));
    }
}

/// Writes down which variables this start stores: they are of this container, and the others in the store are not.
pub fn remember(stored: &[String]) -> Result<()> {
    write(Path::new(RECORD), &kit::container::id().unwrap_or_default(), stored)
}

fn read(record: &Path) -> (Option<String>, Vec<String>) {
    let text = fs::read_to_string(record).unwrap_or_default();
    let mut lines = text.lines().map(str::to_owned);
    (lines.next(), lines.collect())
}

fn write(record: &Path, container: &str, stored: &[String]) -> Result<()> {
    let directory = record.parent().context("a record without a directory")?;
    fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    let lines = stored.iter().fold(format!("{container}\n"), |lines, name| lines + name + "\n");
    atomic::write_if_changed(record, lines.as_bytes(), Placement::durable(0o600)).map(drop)
}

fn unset(store: &Path, names: &[String]) -> Result<()> {
    // A damaged store is reported and made anew when this start's variables are stored.
    let Ok(mut store_now) = Store::read(store) else { return Ok(()) };
    names.iter().for_each(|name| store_now.unset(name));
    store_now.write(store).map(drop)
}

/// Goes on after what cannot be removed, and returns the first error.
fn forget(root: &Path, mounts: &[PathBuf]) -> Result<()> {
    let mut done = Ok(());
    for trace in &TRACES {
        let directory = root.join(trace.directory.trim_start_matches('/'));
        for entry in fs::read_dir(&directory).into_iter().flatten().flatten() {
            let name = entry.file_name();
            let name = name.to_string_lossy();
            let is_trace = |start: &&str| name.strip_prefix('.').unwrap_or(&name).starts_with(*start);
            if trace.names.iter().any(is_trace) {
                done = done.and(remove(&entry.path(), mounts));
            }
        }
    }
    done
}

/// Removes a file or a directory. What is mounted there was given to this container, and stays.
fn remove(path: &Path, mounts: &[PathBuf]) -> Result<()> {
    if mounts.iter().any(|mount| path.starts_with(mount) || mount.starts_with(path)) {
        return Ok(());
    }
    let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    match if is_directory { fs::remove_dir_all(path) } else { fs::remove_file(path) } {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", path.display()))
        }
        _ => Ok(()),
    }
}

/// Where something is mounted, without the container's root.
fn mount_points() -> Vec<PathBuf> {
    let mounts = fs::read("/proc/self/mountinfo").unwrap_or_default();
    workspace::mount_points(&mounts).filter(|point| point != Path::new("/")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_of_one_container_goes_and_everything_else_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = |path: &str| root.path().join(path);
        let gone = [
            "etc/ssh/ssh_host_ed25519_key",
            "opt/leonardo/etc/web_credentials.json",
            "opt/leonardo/etc/.web_credentials.json.7-0.tmp",
            "var/lib/portal/key",
            "var/lib/caddy/tls/self-signed.pem",
            "var/lib/leonardo/sync/container",
            "var/log/logtail.log.1",
            "var/log/supervisor/boot.log",
        ];
        let kept = [
            "etc/ssh/moduli",
            "opt/leonardo/etc/environment.sh",
            "var/lib/leonardo/storage-monitor/ledger",
            "var/log/app.log",
            "etc/ssh/ssh_host_ecdsa_key",
            "var/lib/leonardo/provisioning/mounted/x",
        ];
        for file in gone.iter().chain(&kept) {
            fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            fs::write(path(file), "").unwrap();
        }
        let mounts = [path("etc/ssh/ssh_host_ecdsa_key"), path("var/lib/leonardo/provisioning/mounted")];
        forget(root.path(), &mounts).unwrap();
        assert_eq!(gone.map(|file| path(file).exists()), [false; 8], "{gone:?}");
        assert_eq!(kept.map(|file| path(file).exists()), [true; 6], "{kept:?}");
    }

    #[test]
    fn a_link_is_removed_and_not_followed() {
        let root = tempfile::tempdir().unwrap();
        let (outside, portal) = (root.path().join("outside"), root.path().join("var/lib/portal"));
        fs::create_dir_all(&portal).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        std::os::unix::fs::symlink(&outside, portal.join("link")).unwrap();
        forget(root.path(), &[]).unwrap();
        assert!(outside.join("kept").exists());
        assert!(!portal.join("link").is_symlink());
    }

    #[test]
    fn the_record_has_the_container_and_its_variables() {
        let dir = tempfile::tempdir().unwrap();
        let record = dir.path().join("leonardo/container");
        assert_eq!(read(&record), (None, Vec::new()));
        for container in ["id/layer", ""] {
            write(&record, container, &["WEB_TOKEN".into(), "X".into()]).unwrap();
            assert_eq!(read(&record), (Some(container.into()), vec!["WEB_TOKEN".into(), "X".into()]));
        }
    }

    #[test]
    fn variables_of_another_container_leave_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("environment.sh");
        let mut store = Store::default();
        store.set("WEB_TOKEN", "secret");
        store.set("OF_THE_IMAGE", "1");
        store.write(&path).unwrap();
        unset(&path, &["WEB_TOKEN".into(), "NEVER".into()]).unwrap();
        let left = Store::read(&path).unwrap();
        assert_eq!(left.iter().collect::<Vec<_>>(), [("OF_THE_IMAGE", "1".as_ref())]);
    }
}
