//! The account that a script runs as: the system user of this container.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use kit::account_db::AccountDb;
use kit::{Env, HintExt};

/// Name of the system user unless `USER_NAME` has a valid one.
const DEFAULT: &str = "user";

/// The account that a script runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl Account {
    /// Returns the system user that `init` has made for `USER_NAME`.
    pub fn of(env: &Env) -> Result<Self> {
        let asked = env.text("USER_NAME").unwrap_or(DEFAULT);
        let found = chosen(&AccountDb::read()?, asked);
        let found = found.ok_or_else(|| anyhow!("no unprivileged user {asked:?} exists to run the script"));
        found.hint(|| "search the container's log for USER_NAME to see why it was not created".to_owned())
    }

    /// Returns the account with this name; an error if it is root's.
    pub fn named(name: &str) -> Result<Self> {
        find(&AccountDb::read()?, name).ok_or_else(|| anyhow!("user {name:?} does not exist"))?.unprivileged()
    }

    /// Returns all groups of the account, its primary group first.
    pub fn groups(&self) -> Result<Vec<u32>> {
        Ok(memberships(&AccountDb::read()?, self))
    }

    fn unprivileged(self) -> Result<Self> {
        if self.uid == 0 {
            let hint = "give USER_NAME another name; the script can use sudo for what takes root".to_owned();
            return Err(kit::exit::with_hint(anyhow!("scripts do not run as {:?}", self.name), hint));
        }
        Ok(self)
    }
}

/// Returns the account that `init` chooses for this name: `docker exec` passes on the requested one only.
fn chosen(db: &AccountDb, asked: &str) -> Option<Account> {
    find(db, asked).filter(|account| account.uid != 0).or_else(|| find(db, DEFAULT))
}

/// Returns the id of the group with this name.
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
    fn accounts_and_groups_are_read_as_the_files_say() {
        let users = "root:x:0:0:root:/root:/bin/bash\n# x\n\nada:x:1000:100:Ada:/home/ada:/bin/bash\nadam:x:7:7::/:/x\n";
        let ada = Account { name: "ada".into(), uid: 1_000, gid: 100, home: "/home/ada".into() };
        let groups = "root:x:0:\nsudo:x:27:eve,ada\nusers:x:100:ada\nx:y\nadmins:x:9:adam\nvideo:x:44:ada\n";
        let db = AccountDb::parse(users, groups);
        assert_eq!(find(&db, "ada"), Some(ada.clone()));
        assert_eq!((find(&db, "a"), find(&db, "# x"), find(&db, "")), (None, None, None));
        assert_eq!(memberships(&db, &ada), [100, 27, 44]);
    }

    #[test]
    fn a_script_is_never_roots() {
        let users = "root:x:0:0::/root:/bin/bash\nada:x:1000:100::/:/x\nuser:x:1001:100::/:/x\n";
        let db = AccountDb::parse(users, "");
        for (asked, used) in [("root", "user"), ("Ada", "user"), ("ada", "ada")] {
            assert_eq!(chosen(&db, asked).map(|account| account.name).as_deref(), Some(used));
        }
        assert_eq!(Account::named("root").unwrap_err().to_string(), "scripts do not run as \"root\"");
        let nobody = Account::named("nobody").unwrap();
        assert_eq!((nobody.name.as_str(), nobody.uid == 0), ("nobody", false));
    }
}
