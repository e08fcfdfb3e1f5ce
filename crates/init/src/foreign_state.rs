//! State that belongs to one container alone, and must not be in a container made from its saved image (`docker
//! commit`).
//!
//! The first start of a container finds the record of another one, or none, and removes all of that state; each step of
//! the start then creates its own, as in a fresh image. An SSH server of the provider keeps its host keys.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::mem;
use std::os::unix::fs::lchown;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use env_store::{ContainerRecord, Store};
use kit::{Problem, missing_ok};

use crate::foreign_sshd;

/// Files in `directory` whose name starts with one of `names`, also after the dot of a temporary file.
struct OwnedState {
    directory: &'static str,
    names: &'static [&'static str],
}

const HOST_KEYS: &str = "/etc/ssh";
const EVERYTHING: &[&str] = &[""];
const TRACES: [OwnedState; 12] = [
    OwnedState {
        directory: "/run/leonardo",
        names: &[
            "web_credentials.json",
            "authorized_keys",
            "boot.",
            "quicktunnel.json",
            "cloudflared.json",
            "wan_address",
        ],
    },
    OwnedState { directory: "/run/cloudflared", names: EVERYTHING },
    OwnedState { directory: "/run/caddy", names: EVERYTHING },
    OwnedState { directory: HOST_KEYS, names: &["ssh_host_"] },
    // The store contains variables of the image; only copies left by a killed writer are removed.
    OwnedState {
        directory: "/opt/leonardo/etc",
        names: &["web_credentials.json", "user_password.digest", ".environment.sh."],
    },
    OwnedState { directory: "/var/lib/portal", names: EVERYTHING },
    OwnedState { directory: "/var/lib/caddy", names: EVERYTHING },
    OwnedState { directory: "/var/lib/caddy-tls", names: EVERYTHING },
    OwnedState { directory: "/var/lib/leonardo", names: &["provisioning", "rclone", "sync"] },
    // storage-monitor's ledger stays: the links that it lists were saved too.
    OwnedState { directory: "/var/lib/logtail", names: EVERYTHING },
    OwnedState { directory: "/var/log/supervisor", names: EVERYTHING },
    OwnedState {
        directory: "/var/log",
        names: &["config.log", "sync.log", "preflight.log", "provisioning.log", "debug.log", "logtail.log"],
    },
];

/// Removes the state of another container, before anything reads it. `detach`: another program is the first process.
pub fn remove_foreign(detach: bool, problems: &mut Vec<Problem>) {
    let container = kit::container_id::id().unwrap_or_default();
    let mut kept = workspace::mount_points();
    // The provider may have created host keys for an sshd that it starts later; the image has none.
    let is_new = || ContainerRecord::read(Path::new(ContainerRecord::PATH)).container.is_none();
    if foreign_sshd::is_running() || detach && is_new() {
        // They look like those of another container, and without them that sshd refuses every connection.
        kept.push(HOST_KEYS.into());
    }
    if let Err(error) = clean(Path::new("/"), &kept, container) {
        problems.push(Problem::new(
            "container",
            format!("cannot remove state of another container: {error:#}; will retry at the next start"),
        ));
    }
}

/// The record changes only after all of the other container's state is removed.
fn clean(root: &Path, kept: &[PathBuf], container: String) -> Result<()> {
    let [record, store] =
        [ContainerRecord::PATH, env_store::PATH].map(|path| root.join(path.trim_start_matches('/')));
    let former = ContainerRecord::read(&record);
    if former.container.as_ref() == Some(&container) {
        return Ok(());
    }
    let mut done = forget(root, kept);
    if !former.stored.is_empty() {
        done = done.and(unset(&store, &former.stored));
    }
    done.and_then(|()| {
        ContainerRecord { container: Some(container), ..ContainerRecord::default() }.write(&record)
    })
}

fn unset(store: &Path, names: &BTreeSet<String>) -> Result<()> {
    // A damaged store is reported and replaced when this start's variables are stored.
    let Ok(mut store_now) = Store::read(store) else { return Ok(()) };
    names.iter().for_each(|name| store_now.unset(name));
    store_now.write(store).map(drop)
}

/// Continues after an error, and returns the first one.
fn forget(root: &Path, kept: &[PathBuf]) -> Result<()> {
    let mut done = Ok(());
    for trace in &TRACES {
        let directory = root.join(trace.directory.trim_start_matches('/'));
        if kept.iter().any(|mount| directory.starts_with(mount)) {
            continue;
        }
        let entries = entries(&directory).unwrap_or_else(|error| {
            done = mem::replace(&mut done, Ok(())).and(Err(error));
            Vec::new()
        });
        for path in entries {
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            let is_trace = |start: &&str| {
                name.starts_with(*start)
                    || name.strip_prefix('.').is_some_and(|name| name.starts_with(*start))
            };
            if trace.names.iter().any(is_trace) {
                done = done.and(remove(&path, kept));
            }
        }
    }
    done
}

/// Lists a directory after making root its owner: without the capability `DAC_OVERRIDE`, root could neither list nor
/// empty a directory of another account. `runtime_directories` restores the owner.
fn entries(directory: &Path) -> Result<Vec<PathBuf>> {
    let _ = lchown(directory, Some(0), None);
    let listed = fs::read_dir(directory)
        .and_then(|entries| entries.map(|entry| Ok(entry?.path())).collect::<io::Result<Vec<_>>>());
    let listed = missing_ok(listed).with_context(|| format!("cannot list {}", directory.display()));
    Ok(listed?.unwrap_or_default())
}

/// Removes a file or a directory. Mounts in it belong to this container and stay.
fn remove(path: &Path, kept: &[PathBuf]) -> Result<()> {
    if kept.iter().any(|mount| path.starts_with(mount) || mount.starts_with(path)) {
        return Ok(());
    }
    let is_directory = path.symlink_metadata().is_ok_and(|meta| meta.is_dir());
    if is_directory {
        entries(path)?.iter().map(|entry| remove(entry, kept)).fold(Ok(()), Result::and)?;
    }
    let removed = missing_ok(if is_directory { fs::remove_dir(path) } else { fs::remove_file(path) });
    removed.map(drop).with_context(|| format!("cannot remove {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use kit::capabilities::{CapabilitySet, CapabilitySets, capabilities, set_capabilities};

    use super::*;

    #[test]
    fn what_is_of_one_container_goes_and_everything_else_stays() {
        let root = tempfile::tempdir().unwrap();
        let path = |path: &str| root.path().join(path);
        let gone = [
            "etc/ssh/ssh_host_ed25519_key",
            "opt/leonardo/etc/web_credentials.json",
            "opt/leonardo/etc/.web_credentials.json.7-0.tmp",
            "opt/leonardo/etc/.environment.sh.7-0.tmp",
            "run/caddy/self-signed.pem",
            "run/cloudflared/token",
            "run/leonardo/boot.confided.json",
            "var/lib/caddy/tls/self-signed.pem",
            "var/lib/leonardo/rclone/vfs/my/file",
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
            "var/lib/portal/key",
        ];
        for file in gone.iter().chain(&kept) {
            fs::create_dir_all(path(file).parent().unwrap()).unwrap();
            fs::write(path(file), "").unwrap();
        }
        let mounts =
            ["etc/ssh/ssh_host_ecdsa_key", "var/lib/leonardo/provisioning/mounted", "var/lib/portal"]
                .map(path);
        forget(root.path(), &mounts).unwrap();
        assert!(!gone.iter().any(|file| path(file).exists()), "{gone:?}");
        assert!(kept.iter().all(|file| path(file).exists()), "{kept:?}");
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
    fn without_the_right_to_enter_everything_the_accounts_directories_are_emptied_or_named() {
        let root = tempfile::tempdir().unwrap();
        let (portal, deep) = (root.path().join("var/lib/portal"), root.path().join("var/lib/caddy/locks"));
        let keys = [portal.join("key"), deep.join("key")];
        for (directory, key) in [(&portal, &keys[0]), (&deep, &keys[1])] {
            fs::create_dir_all(directory).unwrap();
            fs::write(key, "").unwrap();
            for path in [directory, key] {
                lchown(path, Some(61111), Some(61111)).unwrap();
            }
            fs::set_permissions(directory, fs::Permissions::from_mode(0o700)).unwrap();
        }
        fs::create_dir_all(root.path().join("opt/leonardo/etc")).unwrap();
        let record = root.path().join("var/lib/leonardo/container");
        ContainerRecord { container: Some("other".into()), ..ContainerRecord::default() }
            .write(&record)
            .unwrap();
        let clean_without = |missing| {
            // Those of this test's thread.
            let sets = capabilities(None).unwrap();
            let effective = sets.effective.difference(missing);
            set_capabilities(None, CapabilitySets { effective, ..sets }).unwrap();
            let done = clean(root.path(), &[], "this".into());
            set_capabilities(None, sets).unwrap();
            // The rest of the start.
            ContainerRecord::add(&record, ["WEB_TOKEN".to_owned()]).unwrap();
            (done.map_err(|error| format!("{error:#}")), ContainerRecord::read(&record).container.unwrap())
        };
        let entering = CapabilitySet::DAC_OVERRIDE | CapabilitySet::DAC_READ_SEARCH;
        let refusal = format!("cannot list {}: Permission denied (os error 13)", portal.display());
        assert_eq!(clean_without(entering | CapabilitySet::CHOWN), (Err(refusal), "other".into()));
        assert_eq!(clean_without(entering), (Ok(()), "this".into()));
        assert_eq!(keys.map(|key| key.exists()), [false; 2]);
    }

    #[test]
    fn variables_of_another_container_leave_the_store() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("environment.sh");
        let mut store = Store::default();
        store.set("WEB_TOKEN", "secret");
        store.set("OF_THE_IMAGE", "1");
        store.write(&path).unwrap();
        unset(&path, &["WEB_TOKEN".into(), "NEVER".into()].into()).unwrap();
        let left = Store::read(&path).unwrap();
        assert_eq!(left.iter().collect::<Vec<_>>(), [("OF_THE_IMAGE", "1".as_ref())]);
    }
}
