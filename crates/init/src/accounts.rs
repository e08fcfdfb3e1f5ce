//! The accounts of the system, and the system user that is created at a start.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use kit::account_db::{AccountDb, Ids};
use kit::{HintExt, Problem, cmd};
use workspace::Workspace;

use crate::home::Account;
use crate::settings::Settings;
use crate::system_user::{self, ExistingAccount, SystemUser};
use crate::{home, sudo, user_password, workspace_access};

/// Lock files of the shadow suite.
const LOCKS: [&str; 6] = ["passwd", "shadow", "group", "gshadow", "subuid", "subgid"];
/// Returns the ids of a system account that the image must have.
pub fn user_id(name: &str) -> Result<Ids> {
    let user = uzers::get_user_by_name(name).ok_or_else(|| anyhow!("user {name} does not exist"));
    user.map(|user| Ids { uid: user.uid(), gid: user.primary_group_id() }).hint(|| remedy("/etc/passwd"))
}

/// Returns the id of a group that the image must have.
pub fn group_id(name: &str) -> Result<u32> {
    let group = uzers::get_group_by_name(name).ok_or_else(|| anyhow!("group {name} does not exist"));
    group.map(|group| group.gid()).hint(|| remedy("/etc/group"))
}

/// Returns the hint for an account that is missing in `file`.
fn remedy(file: &str) -> String {
    remedy_with(file, &workspace::mount_points())
}

fn remedy_with(file: &str, mounts: &[PathBuf]) -> String {
    if mounts.iter().any(|point| point == Path::new(file)) {
        return format!(
            "do not mount {file}: it hides the image's file; set USER_NAME for the user's name; the ids are those of \
             the workspace"
        );
    }
    "init runs inside a container made from the base image".to_owned()
}

/// Replaces the user's name if a system account has it, and reports that.
pub fn resolve_name(settings: &mut Settings, problems: &mut Vec<Problem>) {
    // An unreadable account file is reported when the user is created.
    let Ok(accounts) = AccountDb::read() else { return };
    let name = system_user::effective_name(&accounts, &settings.user_name);
    if name != settings.user_name {
        let message = format!("{:?} is a system account; using {name:?}", settings.user_name);
        problems.push(Problem::new("USER_NAME", message));
        settings.user_name = name.to_owned();
    }
}

/// Creates or changes the system user as requested. A failure does not stop the start, because root and the web
/// services do not depend on the user.
pub fn ensure_user(settings: &Settings, workspace: &mut Workspace, problems: &mut Vec<Problem>) {
    if let Err(error) = ensure(settings, workspace, problems) {
        problems.push(Problem::new(
            "USER_NAME",
            format!("cannot set up the account {:?}: {error:#}", settings.user_name),
        ));
    }
}

/// Creates the system user if it is missing, with sudo rights and a home.
fn ensure(settings: &Settings, workspace: &mut Workspace, problems: &mut Vec<Problem>) -> Result<()> {
    let mut accounts = AccountDb::read()?;
    let mut decided = system_user::plan(&accounts, &settings.user_name, workspace);
    if let (Ok(_), Some(former)) = (&decided, system_user::previous_user(&accounts, &settings.user_name)) {
        remove_user(former)?;
        accounts = AccountDb::read()?;
        decided = system_user::plan(&accounts, &settings.user_name, workspace);
    }
    let user = match decided {
        Ok((user, reported)) => {
            problems.extend(reported);
            user
        }
        Err(refused) => {
            problems.push(refused);
            return Ok(());
        }
    };
    workspace_access::ensure(workspace, &user, &accounts, problems);
    let home = home_of(&user, &accounts, workspace, problems)?;
    let steps = user.steps(&accounts, &home);
    run_commands(&steps)?;
    sudo::install(&user.name)?;
    // The image's author set that account's password; only an explicit request replaces it.
    if settings.user_password.is_some() || !matches!(user.found, ExistingAccount::OfTheImage(_)) {
        user_password::apply(&user.name, settings.user_password.as_ref())?;
    }
    Ok(())
}

/// Runs commands of the shadow suite, one after another.
pub fn run_commands(steps: &[Vec<String>]) -> Result<()> {
    if !steps.is_empty() {
        remove_stale_locks(Path::new("/etc"))?;
    }
    steps.iter().try_for_each(|step| {
        let (program, arguments) = step.split_first().context("an empty step")?;
        cmd::run(Command::new(program).args(arguments))
    })
}

fn home_of(
    user: &SystemUser,
    accounts: &AccountDb,
    workspace: &Workspace,
    problems: &mut Vec<Problem>,
) -> Result<PathBuf> {
    match &user.found {
        ExistingAccount::OfTheImage(user) => Ok(user.home.clone()),
        ExistingAccount::Missing | ExistingAccount::Ours(_) => {
            let account = Account { name: &user.name, ids: user.ids, groups: user.group_ids(accounts) };
            home::ensure(workspace, &account, problems)
        }
    }
}

/// Removes the account of an earlier start and keeps its files.
fn remove_user(name: &str) -> Result<()> {
    remove_stale_locks(Path::new("/etc"))?;
    cmd::run(Command::new("/usr/sbin/userdel").args(["--", name]))
}

/// Removes the lock files of the shadow suite. Nothing else changes accounts while a container starts, so they are left
/// from a start that was killed. The suite itself would wait for them if another process has their process ids now.
fn remove_stale_locks(directory: &Path) -> Result<()> {
    LOCKS.iter().try_for_each(|name| kit::remove_file(&directory.join(name).with_extension("lock")))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_mount_that_hides_the_accounts_is_named() {
        let mounts = [PathBuf::from("/etc/passwd")];
        assert!(remedy_with("/etc/passwd", &mounts).starts_with("do not mount /etc/passwd: "));
        assert_eq!(
            remedy_with("/etc/group", &mounts),
            "init runs inside a container made from the base image"
        );
    }

    #[test]
    fn locks_of_a_killed_start_are_removed_even_if_another_process_has_the_number() {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("passwd.lock"), format!("{}\0", std::process::id())).unwrap();
        fs::write(dir.path().join("group.lock"), "4194305\0").unwrap();
        fs::write(dir.path().join("other.lock"), "4194305\0").unwrap();
        remove_stale_locks(dir.path()).unwrap();
        let left: Vec<_> =
            fs::read_dir(dir.path()).unwrap().map(|entry| entry.unwrap().file_name()).collect();
        assert_eq!(left, ["other.lock"]);
    }
}
