//! POSIX ACLs: reads them, evaluates them, and gives one user access without giving more to any other.
//!
//! ACLs are read with one system call and parsed here, without a lookup in `/etc/passwd`, because every entry of a volume is
//! read. They are written by libacl, which validates the list (see [`Acl::entries`]).

use std::io;

use exacl::{AclEntry, Perm};

use crate::entry::{ALL, Entry, WRITE};

// The kernel's format (linux/posix_acl_xattr.h): a version, then tag, permissions and id for each entry, little-endian.
const VERSION: u32 = 2;
const OWNER: u16 = 0x01;
const USER: u16 = 0x02;
const GROUP: u16 = 0x04;
const NAMED_GROUP: u16 = 0x08;
const MASK: u16 = 0x10;
const OTHER: u16 = 0x20;

/// The two ACLs of a directory; files have only the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AclKind {
    /// Permissions for the entry itself.
    Access,
    /// Initial ACL of new entries.
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
    /// Returns the list that is equivalent to a mode without an ACL.
    pub fn from_mode(entry: &Entry) -> Self {
        Self {
            owner: entry.owner_bits(),
            users: Vec::new(),
            group: entry.group_bits(),
            groups: Vec::new(),
            mask: None,
            other: entry.other_bits(),
        }
    }

    /// Parses the kernel's format; fails on an unknown version or entry.
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

    /// Permissions of a user named in the list, limited by the mask.
    pub fn user_permissions(&self, uid: u32) -> Option<u8> {
        let (_, named) = self.users.iter().find(|(id, _)| *id == uid)?;
        Some(named & self.mask.unwrap_or(ALL))
    }

    /// Returns the list with these permissions added for `uid`, and for no other user.
    ///
    /// A user that is already named keeps its one entry, because libacl refuses duplicates. A mask that has to grow would
    /// give more to all users that it limited, so their entries are limited to the old mask first.
    pub fn with_user(mut self, uid: u32, permissions: u8) -> Self {
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

    /// Returns the default list to start from in a directory with this list: owner, group and others, as setfacl(1) does.
    /// Two differences, because a default list replaces the umask: the creator of an entry may always use it, and others never
    /// get write access.
    pub fn into_default(self) -> Self {
        let group = self.group & self.mask.unwrap_or(ALL);
        let other = self.other & !WRITE;
        Self { owner: ALL, users: Vec::new(), groups: Vec::new(), mask: None, group, other }
    }

    /// Returns the list for libacl, with ids as decimal numbers: names would be looked up, and may be ambiguous.
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

/// Formats permissions as `rwx`, like setfacl(1).
pub fn rwx(digit: u8) -> String {
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
        // Result of `setfacl -d -m u:1000:rwx` on a directory of mode 0755.
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
    fn the_mask_limits_a_named_user() {
        assert_eq!(acl(&[(1000, 7)], 5, &[], Some(5)).user_permissions(1000), Some(5));
        assert_eq!(acl(&[(1000, 7)], 5, &[], Some(7)).user_permissions(1001), None);
    }

    #[test]
    fn one_user_gets_access_and_no_other_gets_more() {
        let cases = [
            (Acl::from_mode(&directory(0o755)), acl(&[(1000, 7)], 5, &[], Some(7))),
            (acl(&[(1000, 4)], 5, &[], Some(5)), acl(&[(1000, 7)], 5, &[], Some(7))),
            (
                // The mask kept the group and the other named users from writing.
                acl(&[(33, 7)], 7, &[(44, 6)], Some(4)),
                acl(&[(33, 4), (1000, 7)], 4, &[(44, 4)], Some(7)),
            ),
        ];
        for (before, after) in cases {
            assert_eq!(before.clone().with_user(1000, 7), after, "{before:?}");
            assert_eq!(after.clone().with_user(1000, 7), after, "a second time changes nothing");
        }
    }

    #[test]
    fn a_default_list_starts_from_the_effective_permissions_of_the_directory() {
        assert_eq!(acl(&[(33, 7)], 7, &[(44, 6)], Some(5)).into_default(), acl(&[], 5, &[], None));
        for (mode, made) in [(0o555, 0o755), (0o777, 0o775)] {
            assert_eq!(
                Acl::from_mode(&directory(mode)).into_default(),
                Acl::from_mode(&directory(made)),
                "{mode:o}"
            );
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
        assert_eq!(rwx(6), "rw-");
    }
}
