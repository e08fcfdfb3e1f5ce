//! The accounts and groups that the container has, from passwd(5) and group(5).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// In the comment of the account that `init` made, so that a later start knows it from the image's own accounts.
pub const MARK: &str = "Leonardo system user";

/// Both ids of an account.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ids {
    /// Of the user.
    pub uid: u32,
    /// Of its primary group.
    pub gid: u32,
}

/// One account.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct User {
    pub name: String,
    pub ids: Ids,
    pub home: PathBuf,
    /// Whether an earlier start of `init` made it.
    pub ours: bool,
}

/// One group.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Group {
    pub name: String,
    pub gid: u32,
    /// Accounts that are in it besides those whose primary group it is.
    pub members: Vec<String>,
}

/// All of them.
#[derive(Debug, Default)]
pub struct Roster {
    users: Vec<User>,
    groups: Vec<Group>,
}

impl Roster {
    /// Reads the container's own.
    pub fn read() -> Result<Self> {
        let text = |path: &str| {
            fs::read(Path::new(path))
                .map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
                .with_context(|| format!("cannot read {path}"))
        };
        Ok(Self::parse(&text("/etc/passwd")?, &text("/etc/group")?))
    }

    /// Lines that say nothing usable are passed over, as every other reader of these files does.
    pub fn parse(passwd: &str, group: &str) -> Self {
        Self {
            users: passwd.lines().filter_map(user).collect(),
            groups: group.lines().filter_map(self::group).collect(),
        }
    }

    pub fn users(&self) -> impl Iterator<Item = &User> {
        self.users.iter()
    }

    pub fn user(&self, name: &str) -> Option<&User> {
        self.users.iter().find(|user| user.name == name)
    }

    pub fn user_of(&self, uid: u32) -> Option<&User> {
        self.users.iter().find(|user| user.ids.uid == uid)
    }

    /// The account that an earlier start made.
    pub fn ours(&self) -> Option<&User> {
        self.users.iter().find(|user| user.ours)
    }

    pub fn groups(&self) -> impl Iterator<Item = &Group> {
        self.groups.iter()
    }

    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|group| group.name == name)
    }

    pub fn group_of(&self, gid: u32) -> Option<&Group> {
        self.groups.iter().find(|group| group.gid == gid)
    }

    /// How many accounts have this primary group.
    pub fn sharers(&self, gid: u32) -> usize {
        self.users.iter().filter(|user| user.ids.gid == gid).count()
    }
}

fn user(line: &str) -> Option<User> {
    let fields: Vec<&str> = line.split(':').collect();
    let [name, _, uid, gid, comment, home, _] = fields[..] else { return None };
    Some(User {
        name: name.to_owned(),
        ids: Ids { uid: uid.parse().ok()?, gid: gid.parse().ok()? },
        home: home.into(),
        ours: comment == MARK,
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
    fn lines_that_say_nothing_usable_do_not_hide_the_others() {
        let passwd = "root:x:0:0:root:/root:/bin/bash\n\n# note\nbad:x:one:1::/:/bin/sh\n\
                      ada:x:1000:1001:Leonardo system user:/home/ada:/bin/bash\n";
        let roster = Roster::parse(passwd, "root:x:0:\nvideo:x:44:ada,bob\nbroken\n");
        assert_eq!(
            roster.ours(),
            Some(&User {
                name: "ada".into(),
                ids: Ids { uid: 1000, gid: 1001 },
                home: "/home/ada".into(),
                ours: true
            })
        );
        assert_eq!(roster.user("bad"), None);
        assert_eq!(
            roster.group_of(44),
            Some(&Group { name: "video".into(), gid: 44, members: vec!["ada".into(), "bob".into()] })
        );
        assert!(!roster.user("root").unwrap().ours);
    }
}
