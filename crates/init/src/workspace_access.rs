//! Gives the system user access to the workspace's directory, after testing it as the user.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::{Path, PathBuf};

use kit::Problem;
use kit::account_db::{AccountDb, Ids};
use kit::privileges::as_account;
use nix::errno::Errno;
use nix::unistd::{AccessFlags, access};
use workspace::{NOBODY, Workspace};

use crate::system_user::SystemUser;

/// Gives the user write access to the workspace, or reports why that is impossible.
///
/// Rights of others stay, and nothing below the directory is changed. If its owner is root or unknown, the workspace
/// counts as the user's from here on.
pub fn ensure(
    workspace: &mut Workspace,
    user: &SystemUser,
    accounts: &AccountDb,
    problems: &mut Vec<Problem>,
) {
    let Ok(meta) = fs::metadata(&workspace.path) else { return };
    if [0, NOBODY].contains(&meta.uid()) {
        (workspace.uid, workspace.gid) = (user.ids.uid, user.ids.gid);
    }
    let by_root = nix::unistd::access(&workspace.path, nix::unistd::AccessFlags::W_OK);
    if by_root == Err(Errno::EROFS) {
        // Reported by `workspace_directory`.
        return;
    }
    let groups = user.group_ids(accounts);
    if let Some(parent) = closed_parent(&workspace.path, user.ids, &groups)
        && let Ok(meta) = fs::metadata(&parent)
    {
        problems.push(Problem::new("WORKSPACE", cannot_enter(user, &parent, &meta)));
        return;
    }
    let may_write = || may_write(&workspace.path, user.ids, &groups);
    let is_given = may_write()
        || ATTEMPTS.iter().any(|attempt| attempt(workspace, &meta, user.ids).unwrap_or(false) && may_write());
    // In the container's layer, files that root creates later are open to the user; on a volume, the permissions stage
    // does that.
    if !workspace.mounted
        && let Err(error) = fix_perms::grant_access(&workspace.path, user.ids.uid)
    {
        log::debug!("{} has no default ACL: {error}", workspace.path.display());
    }
    let message = reported(workspace, user, &meta, is_given, by_root != Err(Errno::EACCES));
    problems.extend(message.map(|message| Problem::new("WORKSPACE", message)));
}

type Attempt = fn(&Workspace, &fs::Metadata, Ids) -> io::Result<bool>;

/// Attempts to give access, in this order; each returns whether it applies.
const ATTEMPTS: [Attempt; 3] = [
    // In the container's layer, the user becomes the owner.
    |workspace, meta, ids| {
        let applies = !workspace.mounted && meta.uid() == 0;
        if applies {
            chown(&workspace.path, Some(ids.uid), Some(ids.gid))?;
        }
        Ok(applies)
    },
    |workspace, meta, ids| {
        // An ACL has no effect on the owner.
        let applies = meta.uid() != ids.uid;
        if applies {
            fix_perms::grant_access(&workspace.path, ids.uid)?;
        }
        Ok(applies)
    },
    // Without ACLs, through the group: no member of root's group loses access.
    |workspace, meta, ids| {
        let applies = (meta.uid(), meta.gid()) == (0, 0);
        if applies {
            chown(&workspace.path, None, Some(ids.gid))?;
            fs::set_permissions(&workspace.path, fs::Permissions::from_mode(meta.mode() & 0o7777 | 0o070))?;
        }
        Ok(applies)
    },
];

/// Returns the first directory above this one that the user cannot enter, such as `/root`, below which some providers
/// mount volumes.
fn closed_parent(path: &Path, ids: Ids, groups: &[u32]) -> Option<PathBuf> {
    let path = fs::canonicalize(path).ok()?;
    let is_closed = |path: &&Path| !may(AccessFlags::X_OK, path, ids, groups);
    // Usually only the root directory is above the workspace.
    let parent = path.parent().filter(|parent| *parent != Path::new("/") && is_closed(parent))?;
    let first = parent.ancestors().take_while(is_closed).last();
    first.map(Path::to_owned)
}

/// True if the user can create files in a directory.
fn may_write(path: &Path, ids: Ids, groups: &[u32]) -> bool {
    may(AccessFlags::W_OK | AccessFlags::X_OK, path, ids, groups)
}

/// True if the user has these rights, tested as the user: modes are not enough on network volumes. Also true if no
/// process can become the user, which is reported as a missing capability.
fn may(rights: AccessFlags, path: &Path, ids: Ids, groups: &[u32]) -> bool {
    as_account(ids.uid, ids.gid, groups, || access(path, rights).is_ok()).unwrap_or(true)
}

fn cannot_enter(user: &SystemUser, parent: &Path, meta: &fs::Metadata) -> String {
    let (name, uid, path) = (&user.name, user.ids.uid, parent.display());
    format!(
        "{name:?} (uid {uid}) cannot enter {path}, which belongs to uid {} with mode {:04o}; mount the workspace elsewhere, \
         or run: chmod o+x {path}, and restart the container",
        meta.uid(),
        meta.mode() & 0o7777
    )
}

fn reported(
    workspace: &Workspace,
    user: &SystemUser,
    meta: &fs::Metadata,
    is_given: bool,
    root_writes: bool,
) -> Option<String> {
    let (name, uid, owner, path) = (&user.name, user.ids.uid, meta.uid(), workspace.path.display());
    let belongs = match owner {
        NOBODY => format!("{path} belongs to uid {NOBODY}, which stands for no user"),
        owner => format!("{path} belongs to uid {owner}"),
    };
    if !is_given {
        let mode = meta.mode() & 0o7777;
        if owner == uid && mode & 0o300 != 0o300 {
            return Some(format!(
                "{name:?} (uid {uid}) cannot write: {belongs} with mode {mode:04o}, which denies access to its own owner; run as \
                 {name:?}: chmod u+rwx {path}"
            ));
        }
        return Some(format!(
            "{name:?} (uid {uid}) cannot write: {belongs} with mode {mode:04o}, and this file system refuses to change \
             that; on the machine that has the volume, run: chown {uid} DIRECTORY"
        ));
    }
    if !root_writes {
        return Some(format!(
            "root cannot write to {path}: Permission denied; {name:?} (uid {uid}) can. Home, storage and synced trees \
             are not created there; to give root access: --cap-add DAC_OVERRIDE, or on an NFS server the option \
             no_root_squash"
        ));
    }
    let is_anothers = workspace.mounted && ![0, uid].contains(&owner);
    is_anothers.then(|| {
        format!(
            "{belongs}; {name:?} (uid {uid}) can write to it, but perhaps not to what is in it; on the machine that has \
             the volume, run: chown -R {uid} DIRECTORY"
        )
    })
}

#[cfg(test)]
mod tests {
    use kit::capabilities::CapabilitySet;

    use super::*;

    const IDS: Ids = Ids { uid: 1234, gid: 1235 };

    fn workspace(path: &Path, mounted: bool) -> Workspace {
        Workspace { path: path.to_owned(), uid: 1000, gid: 1000, mounted, slug: "x".into() }
    }

    /// A directory of this owner and mode below one that everybody can pass.
    fn directory(owner: (u32, u32), mode: u32) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        chown(dir.path(), Some(owner.0), Some(owner.1)).unwrap();
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(mode)).unwrap();
        dir
    }

    #[test]
    fn writing_is_tried_as_the_user_with_its_groups() {
        let table = [
            ((1234, 0), 0o700, vec![], true),
            ((0, 1235), 0o770, vec![], true),
            ((0, 44), 0o770, vec![44], true),
            ((0, 44), 0o770, vec![], false),
            ((0, 0), 0o755, vec![44], false),
            ((0, 0), 0o772, vec![], false),
        ];
        for (owner, mode, groups, expected) in table {
            let dir = directory(owner, mode);
            assert_eq!(may_write(dir.path(), IDS, &groups), expected, "{owner:?} {mode:o} {groups:?}");
        }
    }

    /// Problems of a directory with this owner and mode, for the user of [`IDS`].
    fn settled(dir: &Path, mounted: bool) -> Vec<String> {
        let mut workspace = Workspace { uid: IDS.uid, gid: IDS.gid, ..workspace(dir, mounted) };
        let (user, mut problems) =
            crate::system_user::plan(&AccountDb::default(), "user", &workspace).unwrap();
        ensure(&mut workspace, &user, &AccountDb::default(), &mut problems);
        problems.iter().map(ToString::to_string).collect()
    }

    /// The same without a capability, for this thread or for what it runs.
    fn settled_without(capability: CapabilitySet, dir: &Path) -> Vec<String> {
        let settled = || {
            let mut sets = kit::capabilities::capabilities(None).unwrap();
            sets.effective.remove(capability);
            sets.permitted.remove(capability);
            kit::capabilities::remove_capability_from_bounding_set(capability).unwrap();
            kit::capabilities::set_capabilities(None, sets).unwrap();
            settled(dir, true)
        };
        std::thread::scope(|scope| scope.spawn(settled).join().unwrap())
    }

    #[test]
    fn what_root_makes_later_in_the_containers_own_layer_is_open_to_the_user() {
        for (owner, mode) in [((0, 0), 0o755), ((1234, 1235), 0o755), ((0, 0), 0o777)] {
            let dir = directory(owner, mode);
            assert_eq!(settled(dir.path(), false), [""; 0]);
            let made = dir.path().join("deep/er");
            fs::create_dir_all(&made).unwrap();
            assert!(may_write(&made, IDS, &[]), "{owner:?} {mode:o}");
            assert!(!may_write(&made, Ids { uid: 5, gid: 6 }, &[]), "{owner:?} {mode:o}");
            assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o777, mode);
        }
    }

    #[test]
    fn an_owner_whose_own_mode_refuses_it_is_named_with_the_cure_and_the_directory_stays() {
        for mode in [0o500, 0o555, 0o600] {
            let dir = directory((1234, 1235), mode);
            let path = dir.path().display();
            let message = format!(
                "WORKSPACE: \"user\" (uid 1234) cannot write: {path} belongs to uid 1234 with mode {mode:04o}, which denies \
                 access to its own owner; run as \"user\": chmod u+rwx {path}"
            );
            assert_eq!(settled(dir.path(), true), [message]);
            assert_eq!(fs::metadata(dir.path()).unwrap().mode() & 0o7777, mode);
        }
    }

    #[test]
    fn a_directory_that_refuses_root_alone_is_reported_as_the_users() {
        let dir = directory((1234, 1235), 0o700);
        assert_eq!(settled(dir.path(), true), [""; 0]);
        let message = settled_without(CapabilitySet::DAC_OVERRIDE, dir.path()).concat();
        let begin = format!(
            "WORKSPACE: root cannot write to {}: Permission denied; \"user\" (uid 1234) can",
            dir.path().display()
        );
        assert!(message.starts_with(&begin), "{message}");
    }

    #[test]
    fn where_no_process_can_become_the_user_the_directory_is_not_blamed() {
        for capability in [CapabilitySet::SETUID, CapabilitySet::SETGID] {
            let dir = directory((1234, 1235), 0o755);
            assert_eq!(settled_without(capability, dir.path()), [""; 0], "{capability:?}");
        }
    }

    #[test]
    fn the_first_closed_directory_above_is_named_also_behind_a_link() {
        let dir = directory((0, 0), 0o755);
        let (closed, link) = (dir.path().join("open/closed"), dir.path().join("link"));
        let workspace = closed.join("between/workspace");
        fs::create_dir_all(&workspace).unwrap();
        std::os::unix::fs::symlink(&workspace, &link).unwrap();
        let found = |path: &Path| closed_parent(path, IDS, &[]);
        for path in [&workspace, &link] {
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o700)).unwrap();
            assert_eq!(found(path).as_ref(), Some(&closed));
            fs::set_permissions(&closed, fs::Permissions::from_mode(0o711)).unwrap();
            assert_eq!(found(path), None);
        }
    }

    #[test]
    fn each_attempt_gives_access_and_takes_none_away() {
        let seen = |path: &Path| {
            fs::metadata(path).map(|meta| (meta.uid(), meta.gid(), meta.mode() & 0o7777)).unwrap()
        };
        let table = [
            (0, false, (0, 0), Some((1234, 1235, 0o755))),
            (0, false, (77, 0), None),
            (0, true, (0, 0), None),
            (1, true, (77, 78), Some((77, 78, 0o775))),
            (1, true, (1234, 78), None),
            (2, true, (0, 0), Some((0, 1235, 0o775))),
            (2, true, (0, 78), None),
            (2, true, (77, 0), None),
        ];
        for (attempt, mounted, owner, expected) in table {
            let dir = directory(owner, 0o755);
            let meta = fs::metadata(dir.path()).unwrap();
            let applies = ATTEMPTS[attempt](&workspace(dir.path(), mounted), &meta, IDS).unwrap();
            assert_eq!(applies.then(|| seen(dir.path())), expected, "{attempt} {mounted} {owner:?}");
            assert_eq!(may_write(dir.path(), IDS, &[]), applies || owner.0 == IDS.uid);
            // With an ACL, the mode's group shows the mask; the group itself gets nothing.
            let member = Ids { uid: 5, gid: owner.1 };
            assert!(!may_write(dir.path(), member, &[]), "{attempt} {owner:?}");
        }
    }
}
