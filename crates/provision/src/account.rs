//! Whose script it is: the system user of this container.
//!
//! Read from the files themselves. The C library would ask every source of `nsswitch.conf`, loading libraries that a static
//! program cannot be sure to survive; a container's accounts are in files.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use kit::{Env, HintExt};

/// Who the system user is if nobody said otherwise, or said something that cannot be a name.
const DEFAULT: &str = "user";
const USERS: &str = "/etc/passwd";
const GROUPS: &str = "/etc/group";

/// The account that a script runs as.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account {
    pub name: String,
    pub uid: u32,
    pub gid: u32,
    pub home: PathBuf,
}

impl Account {
    /// The system user that `init` has made for `USER_NAME`.
    pub fn of(env: &Env) -> Result<Self> {
        let users = read(USERS)?;
        let asked = env.text("USER_NAME").unwrap_or(DEFAULT);
        let found = chosen(&users, asked);
        let found = found.ok_or_else(|| anyhow!("there is no account {asked:?} to run the script"));
        found.hint(|| "the container's log says why it was not made: look for USER_NAME".to_owned())
    }

    /// An account by its name, for whoever was told it.
    pub fn named(name: &str) -> Result<Self> {
        find(&read(USERS)?, name).ok_or_else(|| anyhow!("there is no account {name:?}"))?.unprivileged()
    }

    /// All groups of the account, its own first.
    pub fn groups(&self) -> Result<Vec<u32>> {
        Ok(memberships(&read(GROUPS)?, self))
    }

    fn unprivileged(self) -> Result<Self> {
        if self.uid == 0 {
            let hint = "give USER_NAME another name; the script can use sudo for what takes root".to_owned();
            return Err(kit::exit::with_hint(anyhow!("scripts do not run as {:?}", self.name), hint));
        }
        Ok(self)
    }
}

/// Returns the system user's account as `init` settles it: a command of `docker exec` has only the name that was asked for.
fn chosen(users: &str, asked: &str) -> Option<Account> {
    find(users, asked).filter(|account| account.uid != 0).or_else(|| find(users, DEFAULT))
}

/// The number of a group, if there is one of this name.
pub fn group(name: &str) -> Option<u32> {
    let groups = read(GROUPS).ok()?;
    groups.lines().find_map(|line| {
        let (found, gid, _) = fields_of_group(line)?;
        (found == name).then_some(gid)
    })
}

fn read(path: &str) -> Result<String> {
    let bytes = fs::read(Path::new(path)).with_context(|| format!("cannot read {path}"))?;
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// An account in the form of passwd(5).
fn find(users: &str, name: &str) -> Option<Account> {
    users.lines().find_map(|line| {
        let mut fields = line.split(':');
        if fields.next()? != name {
            return None;
        }
        let (uid, gid) = (fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?);
        Some(Account { name: name.to_owned(), uid, gid, home: PathBuf::from(fields.nth(1)?) })
    })
}

/// Name, number and members, in the form of group(5).
fn fields_of_group(line: &str) -> Option<(&str, u32, &str)> {
    let mut fields = line.split(':');
    let name = fields.next()?;
    let gid = fields.nth(1)?.parse().ok()?;
    Some((name, gid, fields.next().unwrap_or_default()))
}

fn memberships(groups: &str, account: &Account) -> Vec<u32> {
    let mut found = vec![account.gid];
    for (_, gid, members) in groups.lines().filter_map(fields_of_group) {
        if members.split(',').any(|member| member == account.name) && !found.contains(&gid) {
            found.push(gid);
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
        assert_eq!(find(users, "ada"), Some(ada.clone()));
        assert_eq!((find(users, "a"), find(users, "# x"), find(users, "")), (None, None, None));
        let groups = "root:x:0:\nsudo:x:27:eve,ada\nusers:x:100:ada\nx:y\nadmins:x:9:adam\nvideo:x:44:ada\n";
        assert_eq!(memberships(groups, &ada), [100, 27, 44]);
    }

    #[test]
    fn a_script_is_never_roots() {
        let users = "root:x:0:0::/root:/bin/bash\nada:x:1000:100::/:/x\nuser:x:1001:100::/:/x\n";
        for (asked, used) in [("root", "user"), ("Ada", "user"), ("ada", "ada")] {
            assert_eq!(chosen(users, asked).map(|account| account.name).as_deref(), Some(used));
        }
        assert_eq!(Account::named("root").unwrap_err().to_string(), "scripts do not run as \"root\"");
        let nobody = Account::named("nobody").unwrap();
        assert_eq!((nobody.name.as_str(), nobody.uid == 0), ("nobody", false));
    }
}
