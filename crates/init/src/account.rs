//! System accounts: looking ids up, and the one user that is made at a start.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use kit::atomic::{self, Placement};
use kit::{HintExt, Problem, Secret, cmd};
use uzers::os::unix::UserExt;

use crate::keys::Keys;
use crate::settings::Settings;
use crate::workspace::Workspace;

/// The documented default; harmless because no way in accepts passwords of system accounts.
const DEFAULT_PASSWORD: &str = "password";
const SUDOERS: &str = "/etc/sudoers.d/leonardo-user";
const KEYS: &str = "/etc/ssh/authorized_keys.d";
/// Memberships of the user where the group exists: administration, logs, GPU device nodes.
const GROUPS: [&str; 5] = ["leonardo", "sudo", "adm", "video", "render"];
/// Outside of these, ids belong to the system, `nobody` included (login.defs(5), `UID_MIN` and `UID_MAX`).
const USER_IDS: std::ops::RangeInclusive<u32> = 1000..=60_000;
const FALLBACK_ID: u32 = 1000;

/// Both ids of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Of the user.
    pub uid: u32,
    /// Of its primary group.
    pub gid: u32,
}

/// The ids of a system user that the image must have.
pub fn user_id(name: &str) -> Result<Ids> {
    let user = uzers::get_user_by_name(name).ok_or_else(|| anyhow!("the image has no user {name}"));
    user.map(|user| Ids { uid: user.uid(), gid: user.primary_group_id() })
        .hint(|| "init runs inside a container made from the base image".to_owned())
}

/// The id of a group that the image must have.
pub fn group_id(name: &str) -> Result<u32> {
    let group = uzers::get_group_by_name(name).ok_or_else(|| anyhow!("the image has no group {name}"));
    group.map(|group| group.gid()).hint(|| "init runs inside a container made from the base image".to_owned())
}

/// Makes the system user unless it is there, lets it become root, and gives it root's keys.
pub fn ensure(
    settings: &Settings,
    workspace: &Workspace,
    keys: &Keys,
    problems: &mut Vec<Problem>,
) -> Result<()> {
    let name = settings.user_name.as_str();
    match uzers::get_user_by_name(name) {
        Some(user) if !USER_IDS.contains(&user.uid()) => {
            problems.push(Problem::new(
                "USER_NAME",
                format!("{name:?} is an account of the system; no user was made"),
            ));
            return Ok(());
        }
        Some(_) => {}
        None => create(name, choose_id(workspace.uid, problems), settings.user_password.as_ref())?,
    }
    let rule = format!("{name} ALL=(ALL:ALL) NOPASSWD: ALL\n");
    atomic::write_if_changed(Path::new(SUDOERS), rule.as_bytes(), Placement::durable(0o440).owned_by(0, 0))?;
    give_keys(name, keys)
}

/// The workspace's owner, unless that id belongs to somebody in the image already.
fn choose_id(wanted: u32, problems: &mut Vec<Problem>) -> Option<u32> {
    for id in [wanted, FALLBACK_ID] {
        match uzers::get_user_by_uid(id) {
            None => return Some(id),
            Some(holder) => problems.push(Problem::new(
                "WORKSPACE",
                format!(
                    "uid {id} belongs to {:?} already; the user gets another",
                    holder.name().to_string_lossy()
                ),
            )),
        }
    }
    None
}

fn create(name: &str, uid: Option<u32>, password: Option<&Secret>) -> Result<()> {
    let groups: Vec<&str> =
        GROUPS.iter().copied().filter(|group| uzers::get_group_by_name(group).is_some()).collect();
    let password = password.map_or(DEFAULT_PASSWORD, Secret::expose);
    let mut useradd = Command::new("/usr/sbin/useradd");
    useradd.args(["--create-home", "--shell", "/bin/bash", "--user-group", "--groups", &groups.join(",")]);
    if let Some(uid) = uid {
        useradd.args(["--uid", &uid.to_string()]);
    }
    cmd::run(useradd.args(["--", name]))?;
    cmd::run_with_input(&mut Command::new("/usr/sbin/chpasswd"), format!("{name}:{password}\n").as_bytes())?;
    let home = uzers::get_user_by_name(name).map(|user| user.home_dir().to_owned()).unwrap_or_default();
    match fs::set_permissions(&home, fs::Permissions::from_mode(0o750)) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot protect {}", home.display()))
        }
        _ => Ok(()),
    }
}

/// Root's keys for the user, in a place that only root writes: nothing in a home directory can steer the write, and
/// sshd takes the file even where a volume cannot keep owners and modes.
fn give_keys(name: &str, keys: &Keys) -> Result<()> {
    let directory = Path::new(KEYS);
    fs::create_dir_all(directory).with_context(|| format!("cannot create {KEYS}"))?;
    let placement = Placement::durable(0o644).owned_by(0, 0);
    atomic::write_if_changed(&directory.join(name), keys.render().as_bytes(), placement).map(drop)
}
