//! The system user: its ids, and the changes that its account needs.
//!
//! Everything is planned from the present accounts, so a start that was killed half-way is simply continued.

use std::path::Path;

use kit::Problem;
use kit::account_db::{AccountDb, Group, Ids, User};
use workspace::Workspace;

use crate::settings::DEFAULT_USER;

/// Comment of the account that `init` made, so that a later start knows it from the image's own accounts.
const MARK: &str = "Leonardo system user";
/// Groups of the user, if they exist: administration, logs, GPU device nodes.
const GROUPS: [&str; 5] = ["leonardo", "sudo", "adm", "video", "render"];
/// Ids of regular accounts; all others are system accounts (login.defs(5), `UID_MIN` and `UID_MAX`).
const USER_IDS: std::ops::RangeInclusive<u32> = 1000..=60_000;
/// Home between two changes of one account: usermod(8) walks over a home whose owner it changes, and this one does not
/// exist.
const NO_HOME: &str = "/nonexistent";

/// The planned system user.
#[derive(Debug, PartialEq, Eq)]
pub struct SystemUser {
    pub name: String,
    pub ids: Ids,
    /// The existing account.
    pub found: ExistingAccount,
    group: GroupChange,
}

/// The existing account of this name.
#[derive(Debug, PartialEq, Eq)]
pub enum ExistingAccount {
    Missing,
    /// Created by an earlier start.
    Ours(User),
    /// Created by the author of the image; its ids and its home stay.
    OfTheImage(User),
}

#[derive(Debug, PartialEq, Eq)]
enum GroupChange {
    Keep,
    Make,
    /// Created by useradd itself, which uses the user's id if it is free: one command less in every first start.
    MakeWithUser,
    /// The user's own group gets another id.
    Move,
}

/// True if an earlier start of `init` made this account.
pub fn is_marked(user: &User) -> bool {
    user.comment == MARK
}

fn marked_user(db: &AccountDb) -> Option<&User> {
    db.users().find(|user| is_marked(user))
}

/// Returns the account of an earlier start with another user name. It is removed: renaming it would change four files,
/// and a start killed in between could not be continued.
pub fn previous_user<'a>(accounts: &'a AccountDb, name: &str) -> Option<&'a str> {
    marked_user(accounts).map(|user| user.name.as_str()).filter(|&former| former != name)
}

/// Returns the user's name: the requested one, unless a system account has it.
pub fn effective_name<'a>(accounts: &AccountDb, asked: &'a str) -> &'a str {
    let is_taken =
        accounts.user(asked).is_some_and(|user| !is_marked(user) && !USER_IDS.contains(&user.ids.uid));
    if is_taken { DEFAULT_USER } else { asked }
}

/// Plans the system user; a system account is never taken over.
pub fn plan(
    accounts: &AccountDb,
    name: &str,
    workspace: &Workspace,
) -> Result<(SystemUser, Vec<Problem>), Problem> {
    let found = match accounts.user(name) {
        Some(user) if is_marked(user) => ExistingAccount::Ours(user.clone()),
        Some(user) if USER_IDS.contains(&user.ids.uid) => ExistingAccount::OfTheImage(user.clone()),
        Some(_) => {
            let message = format!("{name:?} is a system account; no user was created");
            return Err(Problem::new("USER_NAME", message));
        }
        None => ExistingAccount::Missing,
    };
    if let ExistingAccount::OfTheImage(user) = found {
        let ids = user.ids;
        let user = SystemUser {
            name: name.to_owned(),
            ids,
            found: ExistingAccount::OfTheImage(user),
            group: GroupChange::Keep,
        };
        return Ok((user, Vec::new()));
    }
    let mut problems = Vec::new();
    let uid = uid(accounts, workspace.uid, &mut problems)?;
    let (gid, mut group) = group(accounts, name, &found, workspace.gid, &mut problems);
    if group == GroupChange::Make
        && found == ExistingAccount::Missing
        && gid == uid
        && USER_IDS.contains(&uid)
    {
        group = GroupChange::MakeWithUser;
    }
    Ok((SystemUser { name: name.to_owned(), ids: Ids { uid, gid }, found, group }, problems))
}

/// Returns the id of the workspace's owner, unless an account of the image has it.
fn uid(accounts: &AccountDb, wanted: u32, problems: &mut Vec<Problem>) -> Result<u32, Problem> {
    let holder = |uid: u32| accounts.user_of(uid).filter(|user| !is_marked(user));
    let Some(other) = holder(wanted) else { return Ok(wanted) };
    let free = USER_IDS.into_iter().find(|&uid| holder(uid).is_none());
    let uid = free.ok_or_else(|| Problem::new("USER_NAME", "no free uid; no user was created"))?;
    problems.push(Problem::new(
        "WORKSPACE",
        format!("uid {wanted} belongs to {:?} already; the user gets {uid}", other.name),
    ));
    Ok(uid)
}

/// Returns the workspace's group, even if it has another name; if no group has that id, the user's own group gets it.
fn group(
    accounts: &AccountDb,
    name: &str,
    found: &ExistingAccount,
    wanted: u32,
    problems: &mut Vec<Problem>,
) -> (u32, GroupChange) {
    let has_own = match found {
        ExistingAccount::Ours(user) => accounts
            .group_of(user.ids.gid)
            .is_some_and(|group| group.name == user.name && accounts.primary_members(group.gid) == 1),
        _ => false,
    };
    match (accounts.group_of(wanted), accounts.group(name)) {
        (Some(holder), _) => (holder.gid, GroupChange::Keep),
        (None, Some(_)) if has_own => (wanted, GroupChange::Move),
        (None, Some(namesake)) => {
            problems.push(Problem::new(
                "USER_NAME",
                format!(
                    "a group {name:?} already exists; the user's group is {} and not {wanted}",
                    namesake.gid
                ),
            ));
            (namesake.gid, GroupChange::Keep)
        }
        (None, None) => (wanted, GroupChange::Make),
    }
}

impl SystemUser {
    /// Returns the commands that implement the plan, in order; none if nothing changes.
    pub fn steps(&self, accounts: &AccountDb, home: &Path) -> Vec<Vec<String>> {
        let mut steps = Vec::from_iter(self.group_step());
        let missing = self.missing_groups(accounts);
        match &self.found {
            ExistingAccount::Missing => {
                let (uid, gid) = (self.ids.uid.to_string(), self.ids.gid.to_string());
                let mut add = strings(&["/usr/sbin/useradd", "--no-create-home", "--no-log-init"]);
                add.extend(strings(&["--shell", "/bin/bash", "--comment", MARK, "--home-dir", &text(home)]));
                add.extend(strings(&["--uid", &uid]));
                add.extend(match self.group {
                    GroupChange::MakeWithUser => strings(&["--user-group"]),
                    _ => strings(&["--no-user-group", "--gid", &gid]),
                });
                if !missing.is_empty() {
                    add.extend(strings(&["--groups", &missing.join(",")]));
                }
                add.extend(strings(&["--", &self.name]));
                steps.push(add);
            }
            ExistingAccount::Ours(user) => {
                let moved = user.ids != self.ids;
                if moved {
                    let mut change = strings(&["/usr/sbin/usermod", "--home", NO_HOME]);
                    change.extend(strings(&[
                        "--uid",
                        &self.ids.uid.to_string(),
                        "--gid",
                        &self.ids.gid.to_string(),
                    ]));
                    change.extend(strings(&["--", &self.name]));
                    steps.push(change);
                }
                let home = (moved || user.home != home).then(|| text(home));
                steps.extend(self.settle_step(home.as_deref(), &missing));
            }
            ExistingAccount::OfTheImage(_) => steps.extend(self.settle_step(None, &missing)),
        }
        steps
    }

    /// Returns the ids of all groups of the user but its own, including planned ones.
    pub fn group_ids(&self, accounts: &AccountDb) -> Vec<u32> {
        let is_its =
            |group: &&Group| GROUPS.contains(&group.name.as_str()) || group.members.contains(&self.name);
        accounts.groups().filter(is_its).map(|group| group.gid).collect()
    }

    fn group_step(&self) -> Option<Vec<String>> {
        let gid = self.ids.gid.to_string();
        match &self.group {
            GroupChange::Keep | GroupChange::MakeWithUser => None,
            GroupChange::Make => Some(strings(&["/usr/sbin/groupadd", "--gid", &gid, "--", &self.name])),
            GroupChange::Move => Some(strings(&["/usr/sbin/groupmod", "--gid", &gid, "--", &self.name])),
        }
    }

    fn settle_step(&self, home: Option<&str>, missing: &[&str]) -> Option<Vec<String>> {
        let mut change = strings(&["/usr/sbin/usermod"]);
        if let Some(home) = home {
            change.extend(strings(&["--home", home]));
        }
        if !missing.is_empty() {
            change.extend(strings(&["--append", "--groups", &missing.join(",")]));
        }
        (change.len() > 1).then(|| [change, strings(&["--", &self.name])].concat())
    }

    fn missing_groups<'a>(&self, accounts: &AccountDb) -> Vec<&'a str> {
        let lacks = |group: &&str| {
            let members = accounts.group(group).map(|group| &group.members);
            members.is_some_and(|members| !members.contains(&self.name))
        };
        GROUPS.into_iter().filter(lacks).collect()
    }
}

/// Returns a command's words as owned strings.
pub fn strings(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

/// Converts a home's path, which was UTF-8 when it was read.
fn text(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    const SYSTEM: &str = "root:x:0:0:root:/root:/bin/bash\nnobody:x:65534:65534::/:/bin/false\n";
    const SYSTEM_GROUPS: &str = "root:x:0:\nsudo:x:27:\nvideo:x:44:\nusers:x:100:\n";
    const OURS: &str = "user:x:1000:1000:Leonardo system user:/home/user:/bin/bash\n";
    const OUR_GROUPS: &str = "root:x:0:\nsudo:x:27:user\nvideo:x:44:user\nusers:x:100:\nuser:x:1000:\n";

    fn volume(uid: u32, gid: u32) -> Workspace {
        Workspace { path: "/w".into(), uid, gid, mounted: true, slug: "x".into() }
    }

    /// Ids, problems and commands for a user of this name on a volume with this owner.
    fn outcome(
        passwd: &str,
        group: &str,
        name: &str,
        owner: (u32, u32),
    ) -> ((u32, u32), Vec<String>, Vec<String>) {
        let accounts = AccountDb::parse(passwd, group);
        let (user, problems) = plan(&accounts, name, &volume(owner.0, owner.1)).unwrap();
        let home = Path::new("/w/home").join(name);
        let steps = user.steps(&accounts, &home).iter().map(|step| step.join(" ")).collect();
        ((user.ids.uid, user.ids.gid), problems.iter().map(ToString::to_string).collect(), steps)
    }

    /// The command that makes the account; gid 0 stands for a group made along with it.
    fn added(uid: u32, gid: u32, name: &str) -> String {
        let gid = if gid == 0 { "--user-group".into() } else { format!("--no-user-group --gid {gid}") };
        format!(
            "/usr/sbin/useradd --no-create-home --no-log-init --shell /bin/bash --comment Leonardo system user \
             --home-dir /w/home/{name} --uid {uid} {gid} --groups sudo,video -- {name}"
        )
    }

    #[test]
    fn a_new_user_gets_the_owners_ids_and_a_group_of_its_own() {
        assert_eq!(
            outcome(SYSTEM, SYSTEM_GROUPS, "ada", (4242, 4343)),
            (
                (4242, 4343),
                vec![],
                vec!["/usr/sbin/groupadd --gid 4343 -- ada".into(), added(4242, 4343, "ada")]
            )
        );
    }

    #[test]
    fn equal_numbers_take_one_command_where_useradd_would_choose_the_same() {
        let outcome = |owner| outcome(SYSTEM, SYSTEM_GROUPS, "ada", owner).2;
        assert_eq!(outcome((1000, 1000)), [added(1000, 0, "ada")]);
        // Below its range, useradd would choose another gid.
        assert_eq!(
            outcome((501, 501)),
            ["/usr/sbin/groupadd --gid 501 -- ada".into(), added(501, 501, "ada")]
        );
    }

    #[test]
    fn a_group_that_has_the_volumes_number_is_the_users_group() {
        assert_eq!(
            outcome(SYSTEM, SYSTEM_GROUPS, "ada", (99, 100)),
            ((99, 100), vec![], vec![added(99, 100, "ada")])
        );
    }

    #[test]
    fn a_group_of_the_users_name_is_used_and_reported() {
        let (ids, problems, steps) = outcome(SYSTEM, SYSTEM_GROUPS, "video", (1000, 1000));
        assert_eq!((ids, steps), ((1000, 44), vec![added(1000, 44, "video")]));
        assert_eq!(
            problems,
            ["USER_NAME: a group \"video\" already exists; the user's group is 44 and not 1000"]
        );
    }

    #[test]
    fn a_uid_of_another_account_is_not_taken() {
        let passwd = format!("{SYSTEM}ubuntu:x:1000:1000:Ubuntu:/home/ubuntu:/bin/bash\n");
        let groups = format!("{SYSTEM_GROUPS}ubuntu:x:1000:\n");
        for (owner, used) in [(1000, 1001), (65534, 1001)] {
            let (ids, problems, _) = outcome(&passwd, &groups, "ada", (owner, 1000));
            assert_eq!(ids, (used, 1000));
            let holder = if owner == 1000 { "ubuntu" } else { "nobody" };
            assert_eq!(
                problems,
                [format!("WORKSPACE: uid {owner} belongs to {holder:?} already; the user gets {used}")]
            );
        }
    }

    #[test]
    fn a_second_start_changes_nothing_but_the_home() {
        let passwd = format!("{SYSTEM}{OURS}");
        let (ids, problems, steps) = outcome(&passwd, OUR_GROUPS, "user", (1000, 1000));
        assert_eq!((ids, problems), ((1000, 1000), vec![]));
        assert_eq!(steps, ["/usr/sbin/usermod --home /w/home/user -- user"]);
        let passwd = passwd.replace("/home/user:", "/w/home/user:");
        assert_eq!(outcome(&passwd, OUR_GROUPS, "user", (1000, 1000)).2, [""; 0]);
    }

    #[test]
    fn another_owner_of_the_volume_changes_the_ids_and_walks_over_no_home() {
        let passwd = format!("{SYSTEM}{OURS}");
        let (ids, problems, steps) = outcome(&passwd, OUR_GROUPS, "user", (501, 20));
        assert_eq!((ids, problems), ((501, 20), vec![]));
        assert_eq!(
            steps,
            [
                "/usr/sbin/groupmod --gid 20 -- user",
                "/usr/sbin/usermod --home /nonexistent --uid 501 --gid 20 -- user",
                "/usr/sbin/usermod --home /w/home/user -- user",
            ]
        );
    }

    #[test]
    fn a_group_that_has_the_number_of_the_new_owner_keeps_it() {
        let (ids, problems, steps) = outcome(&format!("{SYSTEM}{OURS}"), OUR_GROUPS, "user", (1000, 100));
        assert_eq!((ids, problems), ((1000, 100), vec![]));
        assert_eq!(
            steps,
            [
                "/usr/sbin/usermod --home /nonexistent --uid 1000 --gid 100 -- user",
                "/usr/sbin/usermod --home /w/home/user -- user",
            ]
        );
    }

    #[test]
    fn a_group_that_others_share_is_not_renumbered() {
        let passwd = format!("{SYSTEM}{OURS}bob:x:1001:1000::/:/bin/sh\n");
        let (ids, problems, _) = outcome(&passwd, OUR_GROUPS, "user", (1000, 4343));
        assert_eq!(ids, (1000, 1000));
        assert_eq!(
            problems,
            ["USER_NAME: a group \"user\" already exists; the user's group is 1000 and not 4343"]
        );
    }

    #[test]
    fn only_an_account_of_ours_and_of_another_name_has_to_go() {
        let accounts = AccountDb::parse(&format!("{SYSTEM}{OURS}bob:x:1001:1001::/:/bin/sh\n"), OUR_GROUPS);
        assert_eq!(
            ["user", "ada", "bob"].map(|name| previous_user(&accounts, name)),
            [None, Some("user"), Some("user")]
        );
        assert_eq!(previous_user(&AccountDb::parse(SYSTEM, SYSTEM_GROUPS), "ada"), None);
    }

    #[test]
    fn an_account_of_the_image_keeps_its_ids_and_home_and_joins_the_groups() {
        let passwd = format!("{SYSTEM}ada:x:2000:2000::/srv/ada:/bin/zsh\n");
        assert_eq!(
            outcome(&passwd, SYSTEM_GROUPS, "ada", (1000, 1000)),
            ((2000, 2000), vec![], vec!["/usr/sbin/usermod --append --groups sudo,video -- ada".into()])
        );
    }

    #[test]
    fn an_account_of_the_system_is_never_taken_over_and_a_low_uid_of_ours_is_no_such_account() {
        let accounts = AccountDb::parse(SYSTEM, SYSTEM_GROUPS);
        for system in ["root", "nobody"] {
            assert_eq!(effective_name(&accounts, system), "user");
        }
        assert_eq!(
            effective_name(&AccountDb::parse(&format!("{SYSTEM}bob:x:1001:1::/:/bin/sh\n"), ""), "bob"),
            "bob"
        );
        for name in ["root", "nobody"] {
            let problem = plan(&accounts, name, &volume(1000, 1000)).unwrap_err();
            assert_eq!(problem.message, format!("{name:?} is a system account; no user was created"));
        }
        let ours = OURS.replace("1000:1000", "501:20").replace("/home/user", "/w/home/user");
        assert_eq!(effective_name(&AccountDb::parse(&ours.replacen("user", "ada", 1), ""), "ada"), "ada");
        let groups = OUR_GROUPS.replace("user:x:1000:", "user:x:20:");
        let (ids, problems, steps) = outcome(&format!("{SYSTEM}{ours}"), &groups, "user", (501, 20));
        assert_eq!((ids, problems, steps), ((501, 20), vec![], vec![]));
    }
}
