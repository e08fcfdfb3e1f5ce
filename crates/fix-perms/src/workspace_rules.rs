//! Rules of the workspace: files of root are accessible to the volume's owner, private ones stay private.

use std::io;

use dirfd::FileType;

use crate::acl::{Acl, AclKind};
use crate::change::Change;
use crate::entry::{ALL, Entry};
use crate::rules::{ReadAcl, Rules};

/// Rules of the workspace.
pub struct WorkspaceRules {
    /// The volume's owner.
    pub uid: u32,
}

/// A part of the workspace with rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// The root directory: always has the default ACL.
    Top,
    /// Accessible to the volume's owner.
    Open,
    /// A `.ssh` directory: no access is ever added.
    Keys,
}

impl Zone {
    /// Zone of the entry `name`.
    pub fn child(self, name: &[u8]) -> Self {
        match self {
            Self::Top | Self::Open if name != b".ssh" => Self::Open,
            _ => Self::Keys,
        }
    }
}

impl Rules for WorkspaceRules {
    type Zone = Zone;
    const NEEDS_ALL_LINKS: bool = true;
    const USES_ACLS: bool = true;

    fn root(&self) -> Zone {
        Zone::Top
    }

    /// Mount points of rclone are skipped: a server that does not answer would block the walk.
    fn child(&self, zone: Zone, name: &[u8]) -> Option<Zone> {
        (zone != Zone::Top || name != b"remote").then(|| zone.child(name))
    }

    /// Not if it is private to a user other than the volume's owner.
    fn descends(&self, zone: Zone, entry: &Entry) -> bool {
        zone == Zone::Top || entry.uid == self.uid || !entry.is_private()
    }

    fn is_private(&self, _: Zone, _: &Entry) -> bool {
        false
    }

    /// Makes an entry accessible to the volume's owner, or closes one in a `.ssh` directory.
    fn required_changes(
        &self,
        zone: Zone,
        name: &[u8],
        entry: &Entry,
        read_acl: ReadAcl<'_>,
    ) -> io::Result<Vec<Change>> {
        if entry.is_special() || entry.is_setid() {
            return Ok(Vec::new());
        }
        let mut changes = Vec::new();
        if zone == Zone::Keys {
            let mode = entry.mode & !too_open(name, entry.kind);
            if entry.mode != mode {
                changes.push(Change::Mode(entry.mode, mode));
            }
            // An inherited default ACL would open new keys to other users.
            if entry.kind == FileType::Directory && read_acl(AclKind::Default)?.is_some() {
                changes.push(Change::NoDefault);
            }
            return Ok(changes);
        }
        changes.extend(access(zone, self.uid, entry, read_acl)?);
        if entry.kind == FileType::Directory && (zone == Zone::Top || !entry.is_private()) {
            changes.extend(default(self.uid, entry, read_acl)?);
        }
        Ok(changes)
    }
}

/// Returns the bits that ssh and sshd refuse: write access for others, and any access of others to a private key.
fn too_open(name: &[u8], kind: FileType) -> u32 {
    let is_private_key =
        kind == FileType::RegularFile && name.starts_with(b"id_") && !name.ends_with(b".pub");
    if is_private_key { 0o077 } else { 0o022 }
}

/// Gives `uid` the permissions of root, if root owns the entry and it is not private.
fn access(zone: Zone, uid: u32, entry: &Entry, read_acl: ReadAcl<'_>) -> io::Result<Option<Change>> {
    let wanted = entry.owner_bits();
    let has = |bits: u8| bits & wanted == wanted;
    let is_private = entry.is_private() && zone != Zone::Top;
    if entry.uid != 0 || is_private || has(entry.group_bits() & entry.other_bits()) {
        return Ok(None);
    }
    let acl = read_acl(AclKind::Access)?.unwrap_or_else(|| Acl::from_mode(entry));
    let is_open = acl.user_permissions(uid).is_some_and(has);
    Ok((!is_open).then(|| Change::Access(uid, wanted, acl.with_user(uid, wanted))))
}

fn default(uid: u32, entry: &Entry, read_acl: ReadAcl<'_>) -> io::Result<Option<Change>> {
    let acl = match read_acl(AclKind::Default)? {
        Some(acl) if acl.user_permissions(uid) == Some(ALL) => return Ok(None),
        Some(acl) => acl,
        None => read_acl(AclKind::Access)?.unwrap_or_else(|| Acl::from_mode(entry)).into_default(),
    };
    Ok(Some(Change::Default(uid, acl.with_user(uid, ALL))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::example::{directory, file};

    const UID: u32 = 1000;
    const RULES: WorkspaceRules = WorkspaceRules { uid: UID };

    #[allow(clippy::unnecessary_wraps, reason = "has the type of a read")]
    fn none(_: AclKind) -> io::Result<Option<Acl>> {
        Ok(None)
    }

    fn changes_of(zone: Zone, name: &str, entry: &Entry, read: ReadAcl<'_>) -> Vec<Change> {
        RULES.required_changes(zone, name.as_bytes(), entry, read).unwrap()
    }

    fn access_change(entry: &Entry, digit: u8) -> Change {
        Change::Access(UID, digit, Acl::from_mode(entry).with_user(UID, digit))
    }

    fn default_change(entry: &Entry) -> Change {
        Change::Default(UID, Acl::from_mode(entry).with_user(UID, ALL))
    }

    #[test]
    fn the_owner_gets_the_permissions_of_root() {
        for (mode, digit) in [(0o644, 6), (0o755, 7), (0o444, 4), (0o640, 6), (0o664, 6), (0o604, 6)] {
            let entry = file(mode);
            let expected = if mode == 0o444 { vec![] } else { vec![access_change(&entry, digit)] };
            assert_eq!(changes_of(Zone::Open, "x", &entry, &none), expected, "{mode:o}");
        }
        let entry = directory(0o755);
        assert_eq!(
            changes_of(Zone::Open, "x", &entry, &none),
            [access_change(&entry, 7), default_change(&entry)]
        );
    }

    #[test]
    fn open_private_and_privileged_files_and_those_of_others_are_left_alone() {
        let foreign = Entry { uid: 33, ..file(0o644) };
        for entry in [file(0o666), file(0o600), file(0o400), file(0o4755), file(0o2755), foreign] {
            assert_eq!(changes_of(Zone::Open, "x", &entry, &none), [], "{entry:?}");
        }
        assert_eq!(changes_of(Zone::Open, "x", &directory(0o700), &none), []);
        assert_eq!(changes_of(Zone::Open, "x", &Entry { kind: FileType::Symlink, ..file(0o644) }, &none), []);
    }

    #[test]
    fn a_directory_of_any_user_gets_the_default_list_unless_it_is_private() {
        for uid in [33, UID] {
            let entry = Entry { uid, ..directory(0o755) };
            assert_eq!(changes_of(Zone::Open, "x", &entry, &none), [default_change(&entry)]);
            assert_eq!(changes_of(Zone::Open, "x", &Entry { uid, ..directory(0o700) }, &none), []);
        }
        let top = Entry { uid: UID, ..directory(0o700) };
        assert_eq!(
            changes_of(Zone::Top, "", &top, &none),
            [default_change(&top)],
            "the root directory always gets it"
        );
        let top = directory(0o700);
        assert_eq!(changes_of(Zone::Top, "", &top, &none), [access_change(&top, 7), default_change(&top)]);
    }

    #[test]
    fn a_correct_directory_is_left_alone() {
        let entry = directory(0o775);
        let right = |_| Ok(Some(Acl::from_mode(&directory(0o755)).with_user(UID, ALL)));
        assert_eq!(changes_of(Zone::Open, "x", &entry, &right), []);
        assert_eq!(changes_of(Zone::Top, "", &entry, &right), []);
    }

    #[test]
    fn keys_are_never_opened_and_modes_that_ssh_refuses_are_corrected() {
        let cases = [
            ("authorized_keys", file(0o664), vec![Change::Mode(0o664, 0o644)]),
            ("authorized_keys", file(0o644), vec![]),
            ("id_ed25519", file(0o644), vec![Change::Mode(0o644, 0o600)]),
            ("id_ed25519", file(0o600), vec![]),
            ("id_ed25519.pub", file(0o666), vec![Change::Mode(0o666, 0o644)]),
            (".ssh", directory(0o775), vec![Change::Mode(0o775, 0o755)]),
            (".ssh", directory(0o700), vec![]),
        ];
        for (name, entry, expected) in cases {
            assert_eq!(changes_of(Zone::Keys, name, &entry, &none), expected, "{name} {:o}", entry.mode);
        }
        let inherited = |_| Ok(Some(Acl::from_mode(&directory(0o755))));
        assert_eq!(changes_of(Zone::Keys, ".ssh", &directory(0o700), &inherited), [Change::NoDefault]);
        assert_eq!(Zone::Top.child(b".ssh").child(b"deeper"), Zone::Keys);
        assert_eq!(Zone::Open.child(b"ssh"), Zone::Open);
        let rules = WorkspaceRules { uid: 1000 };
        assert_eq!(rules.child(Zone::Top, b"remote"), None);
        assert_eq!(rules.child(Zone::Open, b"remote"), Some(Zone::Open));
    }

    #[test]
    fn private_directories_are_entered_if_the_volumes_owner_owns_them() {
        for (uid, mode, entered) in
            [(0, 0o755, true), (0, 0o700, false), (33, 0o700, false), (UID, 0o700, true)]
        {
            assert_eq!(
                RULES.descends(Zone::Open, &Entry { uid, ..directory(mode) }),
                entered,
                "{uid} {mode:o}"
            );
        }
        assert!(RULES.descends(Zone::Top, &directory(0o700)));
    }
}
