//! Changes the ids of image accounts that equal the ids of the workspace's owner, so that the user can have these.
//!
//! Otherwise the user could not write to its own volume, and an account that faces the network could write where root
//! runs programs.

use std::fs;
use std::ops::RangeInclusive;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use kit::Problem;
use kit::account_db::{AccountDb, Ids, User};

use crate::accounts;
use crate::system_user::{is_marked, strings};

/// Ids for the image's own accounts: unused by distributions and users, and below 65,536, the limit of containers of
/// rootless engines (systemd's UIDS-GIDS.md and Debian's policy 9.2 list the used ranges).
const OWN: RangeInclusive<u32> = 61_111..=61_183;
/// Ids of packages' accounts; adduser(8) refuses a system account outside this range.
const OF_PACKAGES: RangeInclusive<u32> = 100..=999;
/// Ids of system accounts (login.defs(5)).
const SYSTEM: RangeInclusive<u32> = 1..=999;
/// Ids of regular accounts, which the image's author created on purpose.
const PEOPLE: RangeInclusive<u32> = 1000..=60_000;

/// Changes the ids of accounts that conflict with the workspace's owner.
pub fn resolve(workspace: &Path, problems: &mut Vec<Problem>) {
    let Ok(meta) = fs::metadata(workspace) else { return };
    let owner = Ids { uid: meta.uid(), gid: meta.gid() };
    let moved = AccountDb::read().and_then(|accounts| accounts::run_commands(&steps(&accounts, owner)));
    if let Err(error) = moved {
        problems.push(Problem::new(
            "WORKSPACE",
            format!(
                "cannot renumber an image account with the owner's id: {error:#}; if it is the portal, Caddy or \
                 cloudflared, copies on the volume are not used"
            ),
        ));
    }
}

/// Returns the commands that free both ids; none if they are free.
fn steps(accounts: &AccountDb, owner: Ids) -> Vec<Vec<String>> {
    // Root and the overflow id are never given to the user.
    let is_owner = |id: u32| id != 0 && id != workspace::NOBODY;
    let in_the_way = |user: &&User| {
        user.ids.uid == owner.uid
            && is_owner(owner.uid)
            && !is_marked(user)
            && !PEOPLE.contains(&user.ids.uid)
    };
    let displaced: Vec<&User> = accounts.users().filter(in_the_way).collect();
    let mut steps = Vec::new();
    let mut taken = vec![owner.uid];
    for user in &displaced {
        let range = if SYSTEM.contains(&user.ids.uid) { OF_PACKAGES } else { OWN };
        let Some(uid) = range.rev().find(|uid| accounts.user_of(*uid).is_none() && !taken.contains(uid))
        else {
            continue;
        };
        taken.push(uid);
        log::info!("changing account {:?} to uid {uid}: {} is the workspace's owner", user.name, owner.uid);
        // usermod(8) walks over a home whose owner it changes.
        steps.push(strings(&[
            "/usr/sbin/usermod",
            "--home",
            "/nonexistent",
            "--uid",
            &uid.to_string(),
            "--",
            &user.name,
        ]));
        steps.push(strings(&["/usr/sbin/usermod", "--home", &user.home.to_string_lossy(), "--", &user.name]));
    }
    let Some(group) = accounts.group_of(owner.gid).filter(|_| is_owner(owner.gid)) else { return steps };
    let is_its = |user: &User| user.ids.gid == group.gid || group.members.contains(&user.name);
    let loses = displaced.iter().any(|user| user.ids.gid == group.gid)
        || workspace::NETWORK_FACING_ACCOUNTS.iter().filter_map(|name| accounts.user(name)).any(is_its);
    let free = OWN.rev().find(|gid| accounts.group_of(*gid).is_none() && *gid != owner.gid);
    if let Some(gid) = free.filter(|_| loses) {
        log::info!("changing group {:?} to gid {gid}: {} is the workspace's group", group.name, owner.gid);
        steps.push(strings(&["/usr/sbin/groupmod", "--gid", &gid.to_string(), "--", &group.name]));
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;

    const PASSWD: &str = "root:x:0:0:root:/root:/bin/bash\nwww-data:x:33:33::/var/www:/bin/false\n\
        sshd:x:100:65534::/run/sshd:/bin/false\nlast:x:999:999::/:/bin/false\nada:x:2000:2000::/home/ada:/bin/bash\n\
        nobody:x:65534:65534::/nonexistent:/bin/false\nportal:x:61111:61111::/nonexistent:/bin/false\n\
        caddy:x:61112:61112::/nonexistent:/bin/false\nuser:x:4242:4343:Leonardo system user:/home/user:/bin/bash\n";
    const GROUPS: &str = "root:x:0:\nadm:x:4:portal\nwww-data:x:33:\nusers:x:100:\nlast:x:999:\nada:x:2000:\n\
        nogroup:x:65534:\nportal:x:61111:\ncaddy:x:61112:\nuser:x:4343:\n";

    #[test]
    fn only_the_owner_of_the_volume_has_its_ids() {
        let usermod = |name: &str, uid: u32, home: &str| {
            [
                format!("/usr/sbin/usermod --home /nonexistent --uid {uid} -- {name}"),
                format!("/usr/sbin/usermod --home {home} -- {name}"),
            ]
        };
        let groupmod = |name: &str, gid: u32| [format!("/usr/sbin/groupmod --gid {gid} -- {name}")];
        let table = [
            ((33, 33), [&usermod("www-data", 998, "/var/www")[..], &groupmod("www-data", 61183)].concat()),
            ((100, 100), usermod("sshd", 998, "/run/sshd").to_vec()),
            ((999, 1000), usermod("last", 998, "/").to_vec()),
            ((61111, 20), usermod("portal", 61183, "/nonexistent").to_vec()),
            (
                (61112, 61112),
                [&usermod("caddy", 61183, "/nonexistent")[..], &groupmod("caddy", 61183)].concat(),
            ),
            // A group that an exposed account is in.
            ((1000, 4), groupmod("adm", 61183).to_vec()),
            ((1000, 61111), groupmod("portal", 61183).to_vec()),
            // Free, shared on purpose, or reserved.
            ((12345, 12345), vec![]),
            ((4242, 4343), vec![]),
            ((1000, 100), vec![]),
            ((2000, 2000), vec![]),
            ((0, 0), vec![]),
            ((65534, 65534), vec![]),
        ];
        for ((uid, gid), expected) in table {
            let steps = steps(&AccountDb::parse(PASSWD, GROUPS), Ids { uid, gid });
            let steps: Vec<String> = steps.iter().map(|step| step.join(" ")).collect();
            assert_eq!(steps, expected, "{uid}:{gid}");
        }
    }
}
