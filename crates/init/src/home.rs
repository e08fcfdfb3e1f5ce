//! The system user's home: on a mounted workspace, so that it survives, else in `/home`.
//!
//! The volume's owner may have prepared it in any way, so nothing in it is trusted: see [`crate::owned_directory`].

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dirfd::FileType;
use kit::account_db::Ids;
use kit::{Problem, missing_ok};
use nix::sys::stat::fstat;
use nix::unistd::{Gid, Uid, fchown, symlinkat};
use workspace::Workspace;

use crate::owned_directory::{self, make_private, may_pass, may_use, place_file};

const LOCAL: &str = "/home";
const SKELETON: &str = "/etc/skel";
const MODE: u32 = 0o750;

/// Creates the home and its missing files; a workspace that cannot hold it is reported.
pub fn ensure(workspace: &Workspace, name: &str, ids: Ids, problems: &mut Vec<Problem>) -> Result<PathBuf> {
    let (path, folder) = place(workspace, name, ids, problems)?;
    let prepared =
        copy_skeleton(&folder, Path::new(SKELETON), ids).and_then(|()| restrict_ssh(&folder, ids.uid));
    if let Err(error) = prepared {
        problems.push(Problem::new("home", format!("cannot set up {}: {error}", path.display())));
    }
    Ok(path)
}

fn place(
    workspace: &Workspace,
    name: &str,
    ids: Ids,
    problems: &mut Vec<Problem>,
) -> Result<(PathBuf, OwnedFd)> {
    if workspace.mounted {
        match on_the_workspace(workspace, name, ids) {
            Ok(folder) => return Ok((workspace.home(name), folder)),
            Err(error) => problems.push(Problem::new(
                "home",
                format!(
                    "{error:#}; the home of {name:?} is {LOCAL}/{name}, which is lost when the container is removed"
                ),
            )),
        }
    }
    let path = Path::new(LOCAL).join(name);
    locally(Path::new(LOCAL), name, ids, problems)
        .map(|folder| (path.clone(), folder))
        .with_context(|| format!("cannot prepare {}", path.display()))
}

/// Returns the home on the volume, if the user owns and can reach it.
fn on_the_workspace(workspace: &Workspace, name: &str, ids: Ids) -> Result<OwnedFd> {
    if workspace.path.to_string_lossy().contains(':') {
        bail!("{} contains a colon, which is not allowed in a home directory", workspace.path.display());
    }
    nix::unistd::access(&workspace.path, nix::unistd::AccessFlags::W_OK)
        .with_context(|| format!("cannot write to {}", workspace.path.display()))?;
    for above in workspace.path.ancestors() {
        let cannot = || format!("cannot access {}", above.display());
        let stat = dirfd::open_root(above).and_then(fstat).map_err(io::Error::from).with_context(cannot)?;
        if !may_pass(&stat, ids) {
            bail!("{} is not accessible to uid {}", above.display(), ids.uid);
        }
    }
    let home = workspace.home(name);
    let root = dirfd::open_root(&workspace.path)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot open {}", workspace.path.display()))?;
    let parents = own(&root, "home", ids, 0o755, &workspace.path.join("home"))?;
    if !may_pass(&fstat(&parents)?, ids) {
        bail!("{}/home is not accessible to uid {}", workspace.path.display(), ids.uid);
    }
    let folder = own(&parents, name, ids, MODE, &home)?;
    if !may_use(&fstat(&folder)?, ids) {
        bail!("{} cannot be used by uid {}", home.display(), ids.uid);
    }
    Ok(folder)
}

/// Returns a directory of the user's or root's, created if missing.
fn own(parent: &OwnedFd, name: &str, ids: Ids, mode: u32, path: &Path) -> Result<OwnedFd> {
    let existing = dirfd::stat(parent, name)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot access {}", path.display()))?;
    match existing.as_ref().map(dirfd::file_type) {
        Some(FileType::Directory) | None => {}
        Some(FileType::Symlink) => bail!("{} is a symbolic link; refusing to follow it", path.display()),
        Some(_) => bail!("{} is not a directory", path.display()),
    }
    let folder = owned_directory::make(parent, OsStr::new(name), ids, mode)
        .with_context(|| format!("cannot create {}", path.display()))?;
    let owner = fstat(&folder)?.st_uid;
    if !is_acceptable(owner, ids) {
        bail!("{} belongs to uid {owner} and not to {}", path.display(), ids.uid);
    }
    Ok(folder)
}

/// True for the user's own directory, or root's on a volume that keeps no owners: there the modes decide.
fn is_acceptable(owner: u32, ids: Ids) -> bool {
    owner == ids.uid || owner == 0
}

/// Only root writes in `/home`, so a directory with the user's name belongs to the user, even with another id.
fn locally(parent: &Path, name: &str, ids: Ids, problems: &mut Vec<Problem>) -> io::Result<OwnedFd> {
    fs::create_dir_all(parent)?;
    let folder = owned_directory::make(dirfd::open_root(parent)?, OsStr::new(name), ids, MODE)?;
    let former = fstat(&folder)?.st_uid;
    if former != ids.uid {
        fchown(&folder, Some(Uid::from_raw(ids.uid)), Some(Gid::from_raw(ids.gid)))?;
        problems.push(Problem::new(
            "home",
            format!(
                "changed the owner of {}/{name} to uid {}; files in it still belong to uid {former}",
                parent.display(),
                ids.uid
            ),
        ));
    }
    Ok(folder)
}

/// Copies the skeleton of a new home (useradd(8), `--skel`), without changing existing files.
fn copy_skeleton(home: &OwnedFd, skeleton: &Path, ids: Ids) -> io::Result<()> {
    for entry in missing_ok(fs::read_dir(skeleton))?.into_iter().flatten() {
        let entry = entry?;
        let (name, kind) = (entry.file_name(), entry.file_type()?);
        match dirfd::stat(home, name.as_os_str())?.as_ref().map(dirfd::file_type) {
            None | Some(FileType::Directory) if kind.is_dir() => {
                copy_skeleton(&owned_directory::make(home, &name, ids, 0o755)?, &entry.path(), ids)?;
            }
            None if kind.is_symlink() => {
                symlinkat(&fs::read_link(entry.path())?, home, name.as_os_str())?;
            }
            None if kind.is_file() => {
                let mode = entry.metadata()?.mode() & 0o777;
                place_file(home, &name, &fs::read(entry.path())?, ids, mode)?;
            }
            _ => {}
        }
    }
    Ok(())
}

/// Makes the user's SSH files private; ssh(1) refuses keys that others can read.
fn restrict_ssh(home: &OwnedFd, uid: u32) -> io::Result<()> {
    let name = OsStr::new(".ssh");
    if dirfd::stat(home, name)?.as_ref().map(dirfd::file_type) != Some(FileType::Directory) {
        return Ok(());
    }
    make_private(home, name, uid)?;
    let ssh = dirfd::open_beneath(home, Path::new(name))?;
    dirfd::names(&ssh)?.iter().try_for_each(|file| make_private(&ssh, file, uid))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, symlink};

    use super::*;

    fn own_ids() -> Ids {
        Ids { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    fn at(path: &Path) -> Workspace {
        Workspace { path: path.to_owned(), uid: 1000, gid: 1000, mounted: true, slug: "x".into() }
    }

    fn refusal(path: &Path) -> String {
        let error = on_the_workspace(&at(path), "ada", own_ids()).unwrap_err();
        format!("{error:#}").replace(path.to_str().unwrap(), "W")
    }

    #[test]
    fn a_fresh_volume_gets_a_home() {
        let dir = tempfile::tempdir().unwrap();
        on_the_workspace(&at(dir.path()), "ada", own_ids()).unwrap();
        let mode = |path: &str| fs::metadata(dir.path().join(path)).unwrap().permissions().mode() & 0o7777;
        assert_eq!((mode("home"), mode("home/ada")), (0o755, 0o750));
    }

    #[test]
    fn what_the_volumes_owner_planted_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        let home = dir.path().join("home");
        symlink("/etc", &home).unwrap();
        assert_eq!(refusal(dir.path()), "W/home is a symbolic link; refusing to follow it");
        fs::remove_file(&home).unwrap();
        fs::write(&home, "").unwrap();
        assert_eq!(refusal(dir.path()), "W/home is not a directory");
        fs::remove_file(&home).unwrap();
        fs::create_dir(&home).unwrap();
        symlink("/root", home.join("ada")).unwrap();
        assert_eq!(refusal(dir.path()), "W/home/ada is a symbolic link; refusing to follow it");
        assert!(!Path::new("/etc/ada").exists());
    }

    #[test]
    fn a_home_of_another_user_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        // Something is in it: an empty one of root's would be given to the user.
        fs::create_dir_all(dir.path().join("home/ada/work")).unwrap();
        let owner = own_ids().uid;
        let stranger = Ids { uid: owner + 5, gid: own_ids().gid + 5 };
        fs::set_permissions(dir.path().join("home/ada"), fs::Permissions::from_mode(0o750)).unwrap();
        let error = on_the_workspace(&at(dir.path()), "ada", stranger).unwrap_err().to_string();
        let expected = if owner == 0 {
            "W/home/ada cannot be used by uid 5".to_owned()
        } else {
            format!("W/home belongs to uid {owner} and not to {}", stranger.uid)
        };
        assert_eq!(error.replace(dir.path().to_str().unwrap(), "W"), expected);
        assert_eq!(
            [1000, 0, 77].map(|owner| is_acceptable(owner, Ids { uid: 1000, gid: 77 })),
            [true, true, false]
        );
    }

    #[test]
    fn a_volume_that_the_user_cannot_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Ids { uid: own_ids().uid + 5, gid: own_ids().gid + 5 };
        let error = on_the_workspace(&at(dir.path()), "ada", stranger).unwrap_err().to_string();
        assert_eq!(error, format!("{} is not accessible to uid {}", dir.path().display(), stranger.uid));
        assert!(!dir.path().join("home").exists());
    }

    #[test]
    fn a_colon_would_end_the_field_in_passwd() {
        assert_eq!(
            refusal(Path::new("/data:1")),
            "W contains a colon, which is not allowed in a home directory"
        );
    }

    #[test]
    fn what_is_in_the_home_already_stays() {
        let dir = tempfile::tempdir().unwrap();
        let (skeleton, home) = (dir.path().join("skel"), dir.path().join("home"));
        fs::create_dir_all(skeleton.join(".config/app")).unwrap();
        fs::create_dir_all(&home).unwrap();
        for (path, text) in
            [(".bashrc", "new"), (".profile", "new"), (".config/app/rc", "new"), (".x", "new")]
        {
            fs::write(skeleton.join(path), text).unwrap();
        }
        symlink(".profile", skeleton.join(".login")).unwrap();
        fs::set_permissions(skeleton.join(".bashrc"), fs::Permissions::from_mode(0o755)).unwrap();
        fs::write(home.join(".profile"), "mine").unwrap();
        symlink("/nowhere", home.join(".x")).unwrap();
        let folder = dirfd::open_root(&home).unwrap();
        copy_skeleton(&folder, &skeleton, own_ids()).unwrap();
        copy_skeleton(&folder, &skeleton, own_ids()).unwrap();
        let text = |name: &str| fs::read_to_string(home.join(name)).unwrap();
        assert_eq!([text(".bashrc"), text(".profile"), text(".config/app/rc")], ["new", "mine", "new"]);
        assert_eq!(fs::metadata(home.join(".bashrc")).unwrap().mode() & 0o777, 0o755);
        assert_eq!(fs::read_link(home.join(".x")).unwrap(), Path::new("/nowhere"));
        assert_eq!(fs::read_link(home.join(".login")).unwrap(), Path::new(".profile"));
    }

    #[test]
    fn ssh_files_are_made_private_and_links_among_them_are_not_followed() {
        let dir = tempfile::tempdir().unwrap();
        let ssh = dir.path().join(".ssh");
        fs::create_dir(&ssh).unwrap();
        let outside = dir.path().join("outside");
        for path in [&outside, &ssh.join("id_rsa")] {
            fs::write(path, "").unwrap();
            fs::set_permissions(path, fs::Permissions::from_mode(0o664)).unwrap();
        }
        symlink(&outside, ssh.join("link")).unwrap();
        restrict_ssh(&dirfd::open_root(dir.path()).unwrap(), own_ids().uid).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&ssh), mode(&ssh.join("id_rsa")), mode(&outside)], [0o700, 0o600, 0o664]);
    }
}
