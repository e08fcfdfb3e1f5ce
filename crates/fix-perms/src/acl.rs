//! POSIX ACLs: what the kernel hands out, who may do what, and granting without giving to anybody else.
//!
//! Reading takes the kernel's bytes, one system call without a look at `/etc/passwd`, because it is done for every entry
//! of a volume. Writing goes through libacl, which checks the list (see [`Acl::entries`]).

use std::io;

use exacl::{AclEntry, Perm};

use crate::entry::{ALL, Entry, WRITE};

// The kernel's form (linux/posix_acl_xattr.h): a version, then tag, permissions and id for each entry, little-endian.
const VERSION: u32 = 2;
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// Which of a directory's two lists; files have the first alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// Who may do what with the entry itself.
    Access,
    /// What entries made in the directory get.
    Default,
}

/// An access control list; permissions are digits of a mode.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acl {
    owner: u8,
    users: Vec<(u32, u8)>,
    group: u8,
    groups: Vec<(u32, u8)>,
    mask: Option<u8>,
    other: u8,
}

impl Acl {
    /// The list that a mode without an ACL amounts to.
    pub fn of(entry: &Entry) -> Self {
        Self {
            owner: entry.owner_bits(),
            users: Vec::new(),
            group: entry.group_bits(),
            groups: Vec::new(),
            mask: None,
            other: entry.other_bits(),
        }
    }

    /// Reads the kernel's form; fails on a version or an entry that is unknown.
    pub fn parse(bytes: &[u8]) -> io::Result<Self> {
        let unknown = || io::Error::new(io::ErrorKind::InvalidData, "an ACL of an unknown form");
        let (version, entries) = bytes.split_first_chunk::<4>().ok_or_else(unknown)?;
        let (entries, rest) = entries.as_chunks::<8>();
        if u32::from_le_bytes(*version) != VERSION || !rest.is_empty() {
            return Err(unknown());
        }
        let mut acl =
            Self { owner: 0, users: Vec::new(), group: 0, groups: Vec::new(), mask: None, other: 0 };
        for [tag0, tag1, permissions, _, id @ ..] in entries {
            let (permissions, id) = (permissions & ALL, u32::from_le_bytes(*id));
            match u16::from_le_bytes([*tag0, *tag1]) {
                OWNER => acl.owner = permissions,
                USER => acl.users.push((id, permissions)),
                GROUP => acl.group = permissions,
                NAMED_GROUP => acl.groups.push((id, permissions)),
                MASK => acl.mask = Some(permissions),
                OTHER => acl.other = permissions,
                _ => return Err(unknown()),
            }
        }
        Ok(acl)
    }

    /// What a user named in the list may do; nothing where it is not named.
    pub fn permits(&self, uid: u32) -> Option<u8> {
        let (_, named) = self.users.iter().find(|(id, _)| *id == uid)?;
        Some(named & self.mask.unwrap_or(ALL))
    }

    /// The list with which `uid` may do this as well, and nobody else more than before.
    ///
    /// A user that is named already stays named once, because libacl refuses the second. A mask that has to grow would
    /// give more to everybody whom it held back, so they are cut to what it let through.
    pub fn granting(mut self, uid: u32, permissions: u8) -> Self {
        let mask = self.mask.unwrap_or(ALL);
        self.users.iter_mut().chain(&mut self.groups).for_each(|(_, held)| *held &= mask);
        self.group &= mask;
        match self.users.iter_mut().find(|(id, _)| *id == uid) {
            Some((_, held)) => *held |= permissions,
            None => self.users.push((uid, permissions)),
        }
        let named = self.users.iter().chain(&self.groups).fold(0, |all, (_, held)| all | held);
        self.mask = Some(named | self.group);
        self
    }

    /// The default list to start from in a directory with this list: owner, group and others, as setfacl(1) does. But the maker
    /// of an entry may use it where the directory is closed to its owner, and others do not write what root makes in a directory
    /// that is open to all: a default list switches the umask off.
    pub fn into_default(self) -> Self {
        let group = self.group & self.mask.unwrap_or(ALL);
        let other = self.other & !WRITE;
        Self { owner: ALL, users: Vec::new(), groups: Vec::new(), mask: None, group, other }
    }

    /// The list as libacl takes it, with ids as decimal numbers: names would be looked up, and may be ambiguous.
    pub fn entries(&self) -> Vec<AclEntry> {
        let user = |name: &str, held| AclEntry::allow_user(name, permissions(held), None);
        let group = |name: &str, held| AclEntry::allow_group(name, permissions(held), None);
        let mut entries = vec![user("", self.owner), group("", self.group)];
        entries.push(AclEntry::allow_other(permissions(self.other), None));
        entries.extend(self.users.iter().map(|(id, held)| user(&id.to_string(), *held)));
        entries.extend(self.groups.iter().map(|(id, held)| group(&id.to_string(), *held)));
        entries.extend(self.mask.map(|mask| AclEntry::allow_mask(permissions(mask), None)));
        entries
    }
}

fn permissions(digit: u8) -> Perm {
    let bits = [(4, Perm::READ), (2, Perm::WRITE), (1, Perm::EXECUTE)];
    bits.into_iter().filter(|(bit, _)| digit & bit != 0).map(|(_, permission)| permission).collect()
}

/// `rwx`, as setfacl(1) writes permissions.
pub fn letters(digit: u8) -> String {
    [(4, 'r'), (2, 'w'), (1, 'x')]
        .map(|(bit, letter)| if digit & bit == 0 { '-' } else { letter })
        .iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::example::directory;

    fn acl(users: &[(u32, u8)], group: u8, groups: &[(u32, u8)], mask: Option<u8>) -> Acl {
        Acl { owner: 7, users: users.to_vec(), group, groups: groups.to_vec(), mask, other: 5 }
    }

    #[test]
    fn the_kernels_bytes_are_read() {
        // What `setfacl -d -m u:1000:rwx` leaves on a directory of mode 0755.
        let bytes = [
            2, 0, 0, 0, 1, 0, 7, 0, 255, 255, 255, 255, 2, 0, 7, 0, 0xe8, 3, 0, 0, 4, 0, 5, 0, 255, 255, 255,
            255, 16, 0, 7, 0, 255, 255, 255, 255, 32, 0, 5, 0, 255, 255, 255, 255,
        ];
        assert_eq!(Acl::parse(&bytes).unwrap(), acl(&[(1000, 7)], 5, &[], Some(7)));
        for wrong in [&bytes[..3], &bytes[..9], &[3, 0, 0, 0], &[2, 0, 0, 0, 9, 0, 7, 0, 0, 0, 0, 0]] {
            assert_eq!(Acl::parse(wrong).unwrap_err().kind(), io::ErrorKind::InvalidData, "{wrong:?}");
        }
    }

    #[test]
    fn a_user_may_do_what_the_mask_lets_through() {
        assert_eq!(acl(&[(1000, 7)], 5, &[], Some(5)).permits(1000), Some(5));
        assert_eq!(acl(&[(1000, 7)], 5, &[], Some(7)).permits(1001), None);
    }

    #[test]
    fn granting_gives_to_one_user_and_to_nobody_else() {
        let cases = [
            (Acl::of(&directory(0o755)), acl(&[(1000, 7)], 5, &[], Some(7))),
            (acl(&[(1000, 4)], 5, &[], Some(5)), acl(&[(1000, 7)], 5, &[], Some(7))),
            (
                // The group and the others named could write, had the mask not held them back.
                acl(&[(33, 7)], 7, &[(44, 6)], Some(4)),
                acl(&[(33, 4), (1000, 7)], 4, &[(44, 4)], Some(7)),
            ),
        ];
        for (before, after) in cases {
            assert_eq!(before.clone().granting(1000, 7), after, "{before:?}");
            assert_eq!(after.clone().granting(1000, 7), after, "a second time changes nothing");
        }
    }

    #[test]
    fn a_default_list_starts_from_what_the_directory_really_allows() {
        assert_eq!(acl(&[(33, 7)], 7, &[(44, 6)], Some(5)).into_default(), acl(&[], 5, &[], None));
        for (mode, made) in [(0o555, 0o755), (0o777, 0o775)] {
            assert_eq!(Acl::of(&directory(mode)).into_default(), Acl::of(&directory(made)), "{mode:o}");
        }
    }

    #[test]
    fn libacl_gets_numbers_and_each_entry_once() {
        let shown: Vec<String> =
            acl(&[(1000, 6)], 5, &[(44, 4)], Some(7)).entries().iter().map(ToString::to_string).collect();
        assert_eq!(
            shown,
            [
                "allow::user::read,write,execute",
                "allow::group::read,execute",
                "allow::other::read,execute",
                "allow::user:1000:read,write",
                "allow::group:44:read",
                "allow::mask::read,write,execute",
            ]
        );
        assert_eq!(letters(6), "rw-");
    }
}
