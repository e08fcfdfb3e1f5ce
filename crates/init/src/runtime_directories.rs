//! Runtime directories below `/run` and `/var/log`, with the owners that programs expect.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, lchown, symlink};
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};
use kit::{Problem, cmd, missing_ok};
use nix::unistd::{Gid, Uid, chown};

use crate::{accounts, note_failure};

/// Logs that exist from the start, so that readers can follow them before their writer runs. The portal shows them.
const LOGS: [&str; 5] = ["config", "sync", "preflight", "provisioning", "debug"];

/// Log with the lines of all others.
const MERGED_LOG: &str = "logtail";

/// Markers for extended images: `boot` removes each at the end of its stage.
const MARKERS: [&str; 2] = ["/run/workspace_sync", "/run/container_config"];

/// Link through which supervisord finds programs of extended images, and its target until `boot` changes it.
const PROGRAMS: (&str, &str) = ("/run/leonardo/programs", "/etc/supervisor/waiting");

/// Directories whose content is of one start only: of accounts that face the network, where anything else in a socket's
/// place would keep its program from starting, even after a restart of the container; of the tunnel's token; and of restarts
/// that an earlier start did not complete.
const EMPTIED: [&str; 5] =
    ["/run/portal", "/run/portal-control", "/run/process-control", "/run/caddy", "/run/cloudflared"];

/// Addresses of an earlier start.
const ADDRESSES: [&str; 3] =
    ["/run/leonardo/quicktunnel.json", "/run/leonardo/cloudflared.json", "/run/leonardo/wan_address"];

struct Directory {
    path: &'static str,
    owner: (u32, u32),
    mode: u32,
}

/// Creates missing directories and corrects owners and modes; services of an earlier boot are removed. Failures caused
/// by a mount or a full disk are problems; a missing account of the image is an error.
pub fn prepare(leonardo: u32, problems: &mut Vec<Problem>) -> Result<()> {
    // The distribution's group of log readers: the portal shows a service's log, and gets no other right.
    let readers = accounts::group_id("adm")?;
    let (portal, caddy) = (accounts::user_id("portal")?, accounts::user_id("caddy")?);
    let cloudflared = accounts::group_id("cloudflared")?;
    let directories = [
        Directory { path: "/run/leonardo", owner: (0, leonardo), mode: 0o2755 },
        // Readable by Caddy and the portal, which are in no group that could read more.
        Directory { path: ports::PATH, owner: (0, leonardo), mode: 0o2775 },
        // For Caddy alone: it sets the headers by which the portal identifies visitors.
        Directory { path: "/run/portal", owner: (portal.uid, caddy.gid), mode: 0o2750 },
        // For commands of the system user.
        Directory { path: "/run/portal-control", owner: (portal.uid, leonardo), mode: 0o2750 },
        // For the portal, which must not be able to replace the socket.
        Directory { path: "/run/process-control", owner: (0, portal.gid), mode: 0o750 },
        Directory { path: "/var/lib/portal", owner: (portal.uid, portal.gid), mode: 0o700 },
        Directory { path: "/run/caddy", owner: (caddy.uid, caddy.gid), mode: 0o700 },
        Directory { path: "/run/cloudflared", owner: (0, cloudflared), mode: 0o750 },
        Directory { path: "/opt/leonardo/etc", owner: (0, leonardo), mode: 0o755 },
        Directory { path: "/opt/caddy/etc", owner: (caddy.uid, caddy.gid), mode: 0o755 },
        Directory { path: "/var/lib/caddy", owner: (caddy.uid, caddy.gid), mode: 0o700 },
        Directory { path: "/var/log/supervisor", owner: (0, readers), mode: 0o2750 },
    ];
    let of_log = |name: &str| Path::new("/var/log").join(name).with_extension("log");
    let mut done: Vec<Result<()>> = EMPTIED.iter().map(|path| empty(Path::new(path))).collect();
    done.extend(directories.iter().map(ensure));
    done.extend(ADDRESSES.iter().map(|path| remove(Path::new(path))));
    done.push(forget_services(Path::new(ports::PATH)));
    done.push(hold_back_programs(Path::new(PROGRAMS.0), Path::new(PROGRAMS.1)));
    done.extend(LOGS.iter().map(|log| touch(&of_log(log), readers)));
    done.push(touch(&of_log(MERGED_LOG), leonardo));
    done.extend(MARKERS.iter().map(|marker| touch(Path::new(marker), leonardo)));
    done.into_iter().for_each(|done| note_failure("directories", done, problems));
    Ok(())
}

/// Points the link to a directory without programs; an earlier boot may have changed it.
fn hold_back_programs(link: &Path, waiting: &Path) -> Result<()> {
    let cannot = || format!("cannot create {}", link.display());
    missing_ok(fs::remove_file(link)).with_context(cannot)?;
    symlink(waiting, link).with_context(cannot)
}

fn remove(path: &Path) -> Result<()> {
    missing_ok(fs::remove_file(path)).map(drop).with_context(|| format!("cannot remove {}", path.display()))
}

/// Empties a directory of an earlier start, at any depth.
fn empty(directory: &Path) -> Result<()> {
    // Without the capability `DAC_OVERRIDE`, root cannot list a directory of another account.
    if lchown(directory, Some(0), None).is_err_and(|error| error.kind() == io::ErrorKind::NotFound) {
        return Ok(());
    }
    let cannot = || format!("cannot list {}", directory.display());
    if fs::read_dir(directory).with_context(cannot)?.next().is_none() {
        return Ok(());
    }
    // find follows no links and does not recurse on its stack.
    cmd::run(Command::new("/usr/bin/find").arg(directory).args(["-xdev", "-mindepth", "1", "-delete"]))
}

fn ensure(directory: &Directory) -> Result<()> {
    let path = Path::new(directory.path);
    correct(directory, path).with_context(|| format!("cannot prepare {}", directory.path))
}

fn correct(directory: &Directory, path: &Path) -> io::Result<()> {
    fs::create_dir_all(path)?;
    let meta = fs::symlink_metadata(path)?;
    if !meta.is_dir() {
        return Err(io::Error::from(io::ErrorKind::NotADirectory));
    }
    let (uid, gid) = directory.owner;
    if (meta.uid(), meta.gid()) != (uid, gid) {
        give_content(path, meta.uid(), directory.owner)?;
        chown(path, Some(Uid::from_raw(uid)), Some(Gid::from_raw(gid)))?;
    }
    if meta.permissions().mode() & 0o7777 != directory.mode {
        // Without the capability FSETID, only a member of the group can set the setgid bit (chmod(2)).
        let own = nix::unistd::getegid();
        let _ = nix::unistd::setegid(Gid::from_raw(gid));
        let set = fs::set_permissions(path, fs::Permissions::from_mode(directory.mode));
        let _ = nix::unistd::setegid(own);
        set?;
    }
    Ok(())
}

/// Changes the owner of a directory's content: the account had another id in an earlier start, or on a volume in this
/// place.
fn give_content(directory: &Path, former: u32, owner: (u32, u32)) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let meta = entry.metadata()?;
        // Files of root stay: one could be a hard link to a file elsewhere.
        if former == 0 || meta.uid() != former {
            continue;
        }
        if meta.is_dir() {
            give_content(&entry.path(), former, owner)?;
        }
        lchown(entry.path(), Some(owner.0), Some(owner.1))?;
    }
    Ok(())
}

/// Removes the registered services: no service runs yet. A mounted file stays.
fn forget_services(registry: &Path) -> Result<()> {
    let cannot = || format!("cannot empty {}", registry.display());
    let mut result = Ok(());
    for entry in fs::read_dir(registry).with_context(cannot)? {
        let path = entry.with_context(cannot)?.path();
        if path.symlink_metadata().is_ok_and(|meta| meta.is_dir()) {
            continue;
        }
        match fs::remove_file(&path) {
            Err(error) if error.kind() != io::ErrorKind::ResourceBusy => {
                result = Err(error).with_context(cannot);
            }
            _ => {}
        }
    }
    result
}

/// Creates a file that the group may read. An existing one keeps its mode, which may have been restricted on purpose.
fn touch(path: &Path, group: u32) -> Result<()> {
    let give = || lchown(path, None, Some(group));
    let created = fs::OpenOptions::new().create_new(true).write(true).mode(0o640).open(path);
    match created {
        Ok(file) => give().and_then(|()| file.set_permissions(fs::Permissions::from_mode(0o640))),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            // A mounted file may refuse a new group; the start continues.
            if let Err(error) = give() {
                log::warn!("cannot give {} to group {group}: {error}", path.display());
            }
            Ok(())
        }
        Err(error) => Err(error),
    }
    .with_context(|| format!("cannot create {}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_is_for_its_readers_also_if_it_is_there_already() {
        let dir = tempfile::tempdir().unwrap();
        let log = dir.path().join("provisioning.log");
        let seen = || fs::metadata(&log).map(|meta| (meta.gid(), meta.mode() & 0o7777)).unwrap();
        touch(&log, 4).unwrap();
        assert_eq!(seen(), (4, 0o640));
        fs::write(&log, "text\n").unwrap();
        fs::set_permissions(&log, fs::Permissions::from_mode(0o600)).unwrap();
        touch(&log, 5).unwrap();
        assert_eq!((seen(), fs::read_to_string(&log).unwrap().as_str()), ((5, 0o600), "text\n"));
    }

    #[test]
    fn whatever_is_left_in_a_sockets_place_is_removed() {
        let dir = tempfile::tempdir().unwrap();
        let (run, outside) = (dir.path().join("run"), dir.path().join("outside"));
        empty(&run).unwrap();
        fs::create_dir_all(run.join("portal.sock/x")).unwrap();
        fs::write(&outside, "stays").unwrap();
        symlink(&outside, run.join("portal.sock/link")).unwrap();
        // Deeper than a path may be long.
        let mut deep = fs::File::open(&run).unwrap();
        for _ in 0..2_200 {
            nix::sys::stat::mkdirat(&deep, "d", nix::sys::stat::Mode::S_IRWXU).unwrap();
            deep =
                nix::fcntl::openat(&deep, "d", nix::fcntl::OFlag::O_DIRECTORY, nix::sys::stat::Mode::empty())
                    .map(fs::File::from)
                    .unwrap();
        }
        chown(&run, Some(Uid::from_raw(61111)), None).unwrap();
        empty(&run).unwrap();
        assert_eq!(fs::read_dir(&run).unwrap().count(), 0);
        assert_eq!(fs::read_to_string(&outside).unwrap(), "stays");
    }

    #[test]
    fn what_an_account_wrote_under_another_number_follows_its_directory() {
        let dir = tempfile::tempdir().unwrap();
        let deep = dir.path().join("caddy/locks");
        fs::create_dir_all(&deep).unwrap();
        let (file, link, of_root) = (deep.join("a"), deep.join("link"), deep.join("root's"));
        fs::write(&file, "").unwrap();
        fs::write(&of_root, "").unwrap();
        symlink("/etc/passwd", &link).unwrap();
        let caddys = [dir.path(), &dir.path().join("caddy"), &deep, &file, &link];
        for path in caddys {
            lchown(path, Some(998), Some(998)).unwrap();
        }
        correct(&Directory { path: "", owner: (61183, 61182), mode: 0o700 }, dir.path()).unwrap();
        let owner = |path: &Path| fs::symlink_metadata(path).map(|meta| (meta.uid(), meta.gid())).unwrap();
        assert_eq!(caddys.map(owner), [(61183, 61182); 5]);
        assert_eq!(owner(&of_root), (0, 0));
        assert_eq!(fs::metadata("/etc/passwd").unwrap().uid(), 0);
    }

    #[test]
    fn programs_of_an_earlier_boot_are_held_back_again() {
        let dir = tempfile::tempdir().unwrap();
        let link = dir.path().join("programs");
        symlink("/etc/supervisor/conf.d", &link).unwrap();
        for _ in 0..2 {
            hold_back_programs(&link, Path::new("/etc/supervisor/waiting")).unwrap();
            assert_eq!(fs::read_link(&link).unwrap(), Path::new("/etc/supervisor/waiting"));
        }
    }
}
