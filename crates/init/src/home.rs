//! The system user's home: on a mounted workspace, so that it survives, else in `/home`.
//!
//! The volume's owner may have prepared it in any way, so nothing in it is trusted: see [`crate::owned_directory`].

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use dirfd::FileType;
use dirfd::xattr::Node;
use kit::account_db::Ids;
use kit::{Problem, missing_ok};
use nix::sys::stat::{FileStat, fstat};
use nix::unistd::{AccessFlags, Gid, Uid, fchown, symlinkat};
use workspace::Workspace;

use crate::owned_directory::{self, is_open_by_mode, make_private, may, place_file};

const LOCAL: &str = "/home";
const SKELETON: &str = "/etc/skel";
const MODE: u32 = 0o750;

/// The account that gets a home.
#[derive(Debug)]
pub struct Account<'a> {
    pub name: &'a str,
    pub ids: Ids,
    /// All its groups but its own.
    pub groups: Vec<u32>,
}

/// Creates the home and its missing files; a workspace that cannot hold it is reported.
pub fn ensure(workspace: &Workspace, account: &Account<'_>, problems: &mut Vec<Problem>) -> Result<PathBuf> {
    let (path, folder) = place(workspace, account, problems)?;
    let ids = account.ids;
    let prepared = copy_skeleton(&folder, Path::new(SKELETON), ids).and_then(|()| prepare_ssh(&folder, ids));
    if let Err(error) = prepared {
        problems.push(Problem::new("home", format!("cannot set up {}: {error}", path.display())));
    }
    Ok(path)
}

fn place(
    workspace: &Workspace,
    account: &Account<'_>,
    problems: &mut Vec<Problem>,
) -> Result<(PathBuf, OwnedFd)> {
    let name = account.name;
    if workspace.mounted {
        match on_the_workspace(workspace, account, problems) {
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
    locally(Path::new(LOCAL), name, account.ids, problems)
        .map(|folder| (path.clone(), folder))
        .with_context(|| format!("cannot prepare {}", path.display()))
}

/// Returns the home on the volume, if the user can reach and use it, and nobody but the user or root owns it.
fn on_the_workspace(
    workspace: &Workspace,
    account: &Account<'_>,
    problems: &mut Vec<Problem>,
) -> Result<OwnedFd> {
    let Account { name, ids, groups } = account;
    if workspace.path.to_string_lossy().contains(':') {
        bail!("{} contains a colon, which is not allowed in a home directory", workspace.path.display());
    }
    nix::unistd::access(&workspace.path, AccessFlags::W_OK)
        .with_context(|| format!("cannot write to {}", workspace.path.display()))?;
    for above in workspace.path.ancestors() {
        let directory = dirfd::open_root(above)
            .map_err(io::Error::from)
            .with_context(|| format!("cannot access {}", above.display()))?;
        if !may(AccessFlags::X_OK, &directory, *ids, groups) {
            bail!("{} is not accessible to uid {}", above.display(), ids.uid);
        }
    }
    let home = workspace.home(name);
    let root = dirfd::open_root(&workspace.path)
        .map_err(io::Error::from)
        .with_context(|| format!("cannot open {}", workspace.path.display()))?;
    let parents = own(&root, "home", *ids, 0o755, &workspace.path.join("home"))?;
    if !may(AccessFlags::X_OK, &parents, *ids, groups) {
        bail!("{}/home is not accessible to uid {}", workspace.path.display(), ids.uid);
    }
    let folder = own(&parents, name, *ids, MODE, &home)?;
    let stat = fstat(&folder)?;
    let may_use = || may(AccessFlags::R_OK | AccessFlags::W_OK | AccessFlags::X_OK, &folder, *ids, groups);
    // As the permissions stage does for root's files: private ones stay closed.
    if !may_use() && stat.st_uid == 0 && stat.st_mode & 0o077 != 0 {
        let given = folder.try_clone().and_then(|folder| fix_perms::grant_access_to(folder, ids.uid));
        if let Err(error) = given {
            log::debug!("{} has no ACL: {error}", home.display());
        }
    }
    if !may_use() {
        bail!(unusable(account, &home, &stat));
    }
    if stat.st_uid == 0 && !is_open_by_mode(&stat, *ids) {
        let home = home.display();
        problems.push(Problem::new(
            "home",
            format!(
                "{home} belongs to root; an ACL gives {name:?} access, but not to private files in it, such as ~/.ssh; \
                 run: chown -R {name}: {home}"
            ),
        ));
    }
    Ok(folder)
}

fn unusable(account: &Account<'_>, home: &Path, stat: &FileStat) -> String {
    let Account { name, ids, .. } = account;
    let (uid, home) = (ids.uid, home.display());
    let command = if stat.st_uid == uid { "chmod u+rwx".to_owned() } else { format!("chown -R {name}:") };
    format!(
        "{name:?} (uid {uid}) cannot use {home}, which belongs to uid {} with mode {:04o}; run: {command} {home}, and restart \
         the container",
        stat.st_uid,
        stat.st_mode & 0o7777
    )
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

/// True for the user's own directory, or root's: a volume may keep no owners, or root has restored it.
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

/// Creates `.ssh`, or makes the files in it private; ssh(1) refuses keys that others can read.
///
/// A directory that ssh-keygen creates would inherit the volume's default ACL, with which the kernel ignores the umask, so
/// its keys would be open. The permissions stage removes that ACL from existing ones.
fn prepare_ssh(home: &OwnedFd, ids: Ids) -> io::Result<()> {
    let name = OsStr::new(".ssh");
    match dirfd::stat(home, name)?.as_ref().map(dirfd::file_type) {
        None => {
            let ssh = owned_directory::make(home, name, ids, 0o700)?;
            if let Err(error) = Node::Open(ssh.as_fd()).remove(c"system.posix_acl_default") {
                log::debug!(".ssh has no default ACL: {error}");
            }
            Ok(())
        }
        Some(FileType::Directory) => {
            make_private(home, name, ids.uid)?;
            let ssh = dirfd::open_beneath(home, Path::new(name))?;
            dirfd::names(&ssh)?.iter().try_for_each(|file| make_private(&ssh, file, ids.uid))
        }
        // The user's choice.
        Some(_) => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{PermissionsExt, chown, symlink};

    use super::*;

    fn own_ids() -> Ids {
        Ids { uid: Uid::effective().as_raw(), gid: Gid::effective().as_raw() }
    }

    fn at(path: &Path) -> Workspace {
        Workspace { path: path.to_owned(), uid: 1000, gid: 1000, mounted: true, slug: "x".into() }
    }

    /// Opens the home of this account; the problems of one that is used.
    fn opened(path: &Path, ids: Ids) -> Result<Vec<String>, String> {
        let account = Account { name: "ada", ids, groups: Vec::new() };
        let mut problems = Vec::new();
        let shown = |text: String| text.replace(path.to_str().unwrap(), "W");
        on_the_workspace(&at(path), &account, &mut problems).map_err(|error| shown(format!("{error:#}")))?;
        Ok(problems.iter().map(|problem| shown(problem.to_string())).collect())
    }

    fn refusal(path: &Path) -> String {
        opened(path, own_ids()).unwrap_err()
    }

    #[test]
    fn a_fresh_volume_gets_a_home() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(opened(dir.path(), own_ids()), Ok(vec![]));
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
    fn a_home_of_root_is_used_if_the_user_can_use_it_and_else_named_with_the_command_that_helps() {
        const ADA: Ids = Ids { uid: 1234, gid: 1235 };
        let acl = "home: W/home/ada belongs to root; an ACL gives \"ada\" access, but not to private files in it, such as \
                   ~/.ssh; run: chown -R ada: W/home/ada";
        let refused = |owner: u32, mode: &str, command: &str| {
            Err(format!(
                "\"ada\" (uid 1234) cannot use W/home/ada, which belongs to uid {owner} with mode {mode}; run: {command} \
                 W/home/ada, and restart the container"
            ))
        };
        for (owner, mode, expected) in [
            ((0, 0), 0o750, Ok(vec![acl.to_owned()])),
            ((0, 0), 0o777, Ok(vec![])),
            ((0, 1235), 0o770, Ok(vec![])),
            ((0, 0), 0o700, refused(0, "0700", "chown -R ada:")),
            ((1234, 1235), 0o500, refused(1234, "0500", "chmod u+rwx")),
            ((77, 77), 0o777, Err("W/home/ada belongs to uid 77 and not to 1234".to_owned())),
        ] {
            let dir = tempfile::tempdir().unwrap();
            fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
            let home = dir.path().join("home/ada");
            // Something is in it: an empty one of root's would be given to the user.
            fs::create_dir_all(home.join("work")).unwrap();
            chown(&home, Some(owner.0), Some(owner.1)).unwrap();
            fs::set_permissions(&home, fs::Permissions::from_mode(mode)).unwrap();
            assert_eq!(opened(dir.path(), ADA), expected, "{owner:?} {mode:o}");
            assert_eq!(fs::metadata(&home).unwrap().uid(), owner.0);
        }
    }

    #[test]
    fn a_volume_that_the_user_cannot_enter_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o700)).unwrap();
        let stranger = Ids { uid: own_ids().uid + 5, gid: own_ids().gid + 5 };
        let expected = format!("W is not accessible to uid {}", stranger.uid);
        assert_eq!(opened(dir.path(), stranger), Err(expected));
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
        prepare_ssh(&dirfd::open_root(dir.path()).unwrap(), own_ids()).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        assert_eq!([mode(&ssh), mode(&ssh.join("id_rsa")), mode(&outside)], [0o700, 0o600, 0o664]);
        fs::remove_dir_all(&ssh).unwrap();
        fix_perms::grant_access(dir.path(), own_ids().uid).unwrap();
        prepare_ssh(&dirfd::open_root(dir.path()).unwrap(), own_ids()).unwrap();
        let created = dirfd::open_root(&ssh).unwrap();
        let inherited = Node::Open(created.as_fd()).get(c"system.posix_acl_default");
        assert_eq!((mode(&ssh), inherited), (0o700, Err(nix::errno::Errno::ENODATA)), "made for ssh-keygen");
    }
}
