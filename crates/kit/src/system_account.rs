//! The account that the user's programs run as: the system user of this container, or one that they name.

use std::path::PathBuf;

use anyhow::{Context, Result, anyhow, ensure};
use nix::unistd::{Gid, Uid, setgid, setgroups, setuid};

use crate::account_db::AccountDb;
use crate::{Env, HintExt};

/// Name of the system user unless `USER_NAME` has a valid one.
const DEFAULT: &str = "user";
/// Login shell of the system user, whatever a changed passwd(5) has.
pub const SHELL: &str = "/bin/bash";

/// An account other than root's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    /// Login name.
    pub name: String,
    /// User id, never 0.
    pub uid: u32,
    /// Id of its primary group.
    pub gid: u32,
    /// Home directory.
    pub home: PathBuf,
}

impl Account {
    /// Returns the system user that `init` has made for `USER_NAME`.
    pub fn of(env: &Env) -> Result<Self> {
        let asked = env.text("USER_NAME").unwrap_or(DEFAULT);
        let found = chosen(&AccountDb::read()?, asked);
        let found = found.ok_or_else(|| anyhow!("no unprivileged user {asked:?} exists"));
        found.hint(|| "search the container's log for USER_NAME to see why it was not created".to_owned())
    }

    /// Returns the account with this name; an error if it is root's.
    pub fn named(name: &str) -> Result<Self> {
        let found = find(&AccountDb::read()?, name).ok_or_else(|| anyhow!("user {name:?} does not exist"))?;
        ensure!(found.uid != 0, "user {name:?} is root");
        Ok(found)
    }

    /// Returns all groups of the account, its primary group first.
    pub fn groups(&self) -> Result<Vec<u32>> {
        Ok(memberships(&AccountDb::read()?, self))
    }

    /// Gives this process the rights of the account, for good. It must be root's.
    pub fn switch(&self) -> Result<()> {
        let cannot = || format!("cannot switch to user {}", self.name);
        let groups: Vec<Gid> = self.groups()?.into_iter().map(Gid::from_raw).collect();
        setgroups(&groups).with_context(cannot)?;
        setgid(Gid::from_raw(self.gid)).with_context(cannot)?;
        setuid(Uid::from_raw(self.uid)).with_context(cannot)
    }

    /// Sets the variables by which programs find the user's name, home and shell.
    pub fn set_variables(&self, env: &mut Env) {
        env.set("HOME", &self.home);
        env.set("USER", self.name.as_str());
        env.set("LOGNAME", self.name.as_str());
        env.set("SHELL", SHELL);
    }
}

/// Returns the account that `init` chooses for this name: `docker exec` passes on the requested one only.
fn chosen(db: &AccountDb, asked: &str) -> Option<Account> {
    find(db, asked).filter(|account| account.uid != 0).or_else(|| find(db, DEFAULT))
}

/// Returns the id of the group with this name.
#[must_use]
pub fn group(name: &str) -> Option<u32> {
    Some(AccountDb::read().ok()?.group(name)?.gid)
}

fn find(db: &AccountDb, name: &str) -> Option<Account> {
    let user = db.user(name)?;
    Some(Account { name: user.name.clone(), uid: user.ids.uid, gid: user.ids.gid, home: user.home.clone() })
}

fn memberships(db: &AccountDb, account: &Account) -> Vec<u32> {
    let mut found = vec![account.gid];
    for group in db.groups() {
        if group.members.contains(&account.name) && !found.contains(&group.gid) {
            found.push(group.gid);
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accounts_and_groups_are_read_from_the_files() {
        let users = "root:x:0:0:root:/root:/bin/bash\n# x\n\nada:x:1000:100:Ada:/home/ada:/bin/bash\nadam:x:7:7::/:/x\n";
        let ada = Account { name: "ada".into(), uid: 1_000, gid: 100, home: "/home/ada".into() };
        let groups = "root:x:0:\nsudo:x:27:eve,ada\nusers:x:100:ada\nx:y\nadmins:x:9:adam\nvideo:x:44:ada\n";
        let db = AccountDb::parse(users, groups);
        assert_eq!(find(&db, "ada"), Some(ada.clone()));
        assert_eq!((find(&db, "a"), find(&db, "# x"), find(&db, "")), (None, None, None));
        assert_eq!(memberships(&db, &ada), [100, 27, 44]);
    }

    #[test]
    fn the_account_is_never_roots() {
        let users = "root:x:0:0::/root:/bin/bash\nada:x:1000:100::/:/x\nuser:x:1001:100::/:/x\n";
        let db = AccountDb::parse(users, "");
        for (asked, used) in [("root", "user"), ("Ada", "user"), ("ada", "ada")] {
            assert_eq!(chosen(&db, asked).map(|account| account.name).as_deref(), Some(used));
        }
        assert_eq!(Account::named("root").unwrap_err().to_string(), "user \"root\" is root");
        let nobody = Account::named("nobody").unwrap();
        assert_eq!((nobody.name.as_str(), nobody.uid == 0), ("nobody", false));
    }
}
