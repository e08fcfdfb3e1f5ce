//! The accounts and groups of this container, from `/etc/passwd` (passwd(5)) and `/etc/group` (group(5)).
//!
//! Read from the files themselves: getpwnam(3) in a static program loads the libraries that `nsswitch.conf` names, and
//! crashes on those of another glibc. A container's accounts are in files.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result};

/// User id and primary group id of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Of the user.
    pub uid: u32,
    /// Of its primary group.
    pub gid: u32,
}

/// One line of passwd(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    /// Login name.
    pub name: String,
    /// User and primary group.
    pub ids: Ids,
    /// Comment field (GECOS), often a full name.
    pub comment: String,
    /// Home directory.
    pub home: PathBuf,
}

/// One line of group(5).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    /// Its name.
    pub name: String,
    /// Its id.
    pub gid: u32,
    /// Members besides the accounts whose primary group it is.
    pub members: Vec<String>,
}

/// Accounts and groups, as they were when the files were read.
#[derive(Debug, Default)]
pub struct AccountDb {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl AccountDb {
    /// Reads the files of this container.
    pub fn read() -> Result<Self> {
        let text = |path: &str| {
            fs::read(path)
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .with_context(|| format!("cannot read {path}"))
        };
        Ok(Self::parse(&text("/etc/passwd")?, &text("/etc/group")?))
    }

    /// Parses both files. Malformed lines are skipped, as by every other reader of these files.
    #[must_use]
    pub fn parse(passwd: &str, group: &str) -> Self {
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(self::group).collect(),
        }
    }

    /// All accounts, in the order of the file.
    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    /// Returns the account with this name.
    #[must_use]
    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    /// Returns the first account with this id.
    #[must_use]
    pub fn user_of(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.ids.uid == uid)
    }

    /// All groups, in the order of the file.
    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    /// Returns the group with this name.
    #[must_use]
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    /// Returns the first group with this id.
    #[must_use]
    pub fn group_of(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// Number of accounts whose primary group this is.
    #[must_use]
    pub fn primary_members(&self, gid: u32) -> usize {
        self.users.iter().filter(|user| user.ids.gid == gid).count()
    }
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, _] = fields[..] else { return None };
    Some(User {
        name: name.to_owned(),
        ids: Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? },
        comment: comment.to_owned(),
        home: home.into(),
    })
}

fn group(line: &str) -> Option<Group> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, gid, members] = fields[..] else { return None };
    Some(Group {
        name: name.to_owned(),
        gid: gid.parse().ok()?,
        members: members.split(',').filter(|member| !member.is_empty()).map(str::to_owned).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn malformed_lines_do_not_hide_the_others() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\n# note\nbad:x:one:1::/:/bin/sh\n\
                      ada:x:1000:1001:Ada:/home/ada:/bin/bash\n";
        let db = AccountDb::parse(passwd, "root:x:0:\nvideo:x:44:ada,bob\nbroken\n");
        let ada = User {
            name: "ada".into(),
            ids: Ids { uid: 1000, gid: 1001 },
            comment: "Ada".into(),
            home: "/home/ada".into(),
        };
        assert_eq!(db.user("ada"), Some(&ada));
        assert_eq!(db.user_of(1000), Some(&ada));
        assert_eq!((db.user("bad"), db.user("# note"), db.user("")), (None, None, None));
        assert_eq!(
            db.group_of(44),
            Some(&Group { name: "video".into(), gid: 44, members: vec!["ada".into(), "bob".into()] })
        );
        assert_eq!((db.group("broken"), db.primary_members(1001)), (None, 1));
    }
}
