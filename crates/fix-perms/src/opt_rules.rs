//! Rules of `/opt`: shared with the group, except programs that root runs and trees of services or packages.

use std::io;

use dirfd::FileType;

use crate::change::Change;
use crate::entry::{Entry, SET_GROUP_ID};
use crate::rules::{ReadAcl, Rules};

/// Rules of `/opt`.
pub struct OptRules {
    /// The group that the tree is shared with.
    pub gid: u32,
}

/// A part of `/opt` with rules of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Zone {
    /// `/opt` itself: unchanged; its entries are looked up in [`TABLE`].
    Top,
    /// A directory of trees: unchanged itself, its entries are shared.
    TreeDirectory,
    /// Shared with the group.
    Shared,
}

/// Zones of the names directly below `/opt`; `None` is never entered. A `*` at the end matches any suffix.
///
/// The build of the image sets the permissions of its own parts (`images/base/steps/layout.sh`). The others come from
/// packages: changing a vendor's tree would copy gigabytes into a layer, and root runs its programs.
const TABLE: &[(&str, Option<Zone>)] = &[
    ("leonardo", None),
    ("caddy", None),
    ("supervisor", None),
    ("rocm*", None),
    ("amdgpu*", None),
    ("nvidia*", None),
    // Only root may rename the links to the trees in here.
    (".image", Some(Zone::TreeDirectory)),
];

impl Zone {
    /// Zone of the entry `name`; `None` if it is skipped with its content.
    pub fn child(self, name: &[u8]) -> Option<Self> {
        match self {
            Self::Top => {
                let row = TABLE.iter().find(|(pattern, _)| matches(pattern.as_bytes(), name));
                row.map_or(Some(Self::Shared), |(_, zone)| *zone)
            }
            Self::TreeDirectory => Some(Self::Shared),
            // Keys are private, whatever their modes are.
            Self::Shared => (name != b".ssh").then_some(Self::Shared),
        }
    }
}

fn matches(pattern: &[u8], name: &[u8]) -> bool {
    match pattern.split_last() {
        Some((b'*', start)) => name.starts_with(start),
        _ => pattern == name,
    }
}

impl Rules for OptRules {
    type Zone = Zone;
    // A hard link to a file of a lower layer is copied up separately, while the link count stays. Only members of the group
    // could link a file into the tree, and they may become root anyway.
    const NEEDS_ALL_LINKS: bool = false;
    const USES_ACLS: bool = false;

    fn root(&self) -> Zone {
        Zone::Top
    }

    fn child(&self, zone: Zone, name: &[u8]) -> Option<Zone> {
        zone.child(name)
    }

    /// Not if only its owner can reach it.
    fn descends(&self, zone: Zone, entry: &Entry) -> bool {
        zone != Zone::Shared || !entry.is_private()
    }

    fn is_private(&self, zone: Zone, entry: &Entry) -> bool {
        zone == Zone::Shared
            && entry.uid == 0
            && entry.is_private()
            && !entry.is_special()
            && !entry.is_setid()
    }

    /// Gives the group the owner's permissions; no permission is taken away.
    fn required_changes(
        &self,
        zone: Zone,
        _: &[u8],
        entry: &Entry,
        _: ReadAcl<'_>,
    ) -> io::Result<Vec<Change>> {
        // A new group clears set-user-ID and set-group-ID, and write access would give their rights away.
        if zone != Zone::Shared || entry.is_special() || entry.is_private() || entry.is_setid() {
            return Ok(Vec::new());
        }
        let inherits = if entry.kind == FileType::Directory { SET_GROUP_ID } else { 0 };
        let mode = entry.mode | u32::from(entry.owner_bits()) << 3 | inherits;
        let mut changes = Vec::new();
        if entry.gid != self.gid {
            changes.push(Change::Group(self.gid));
        }
        if entry.mode != mode {
            changes.push(Change::Mode(entry.mode, mode));
        }
        Ok(changes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::example::{directory, file};

    const GROUP: u32 = 1111;
    const RULES: OptRules = OptRules { gid: GROUP };

    fn changes_of(zone: Zone, entry: &Entry) -> Vec<Change> {
        RULES.required_changes(zone, b"x", entry, &|_| Ok(None)).unwrap()
    }

    #[test]
    fn the_group_gets_the_owners_permissions_and_only_directories_are_set_gid() {
        let ours = |entry: Entry| Entry { gid: GROUP, ..entry };
        let cases = [
            (directory(0o755), vec![Change::Group(GROUP), Change::Mode(0o755, 0o2775)]),
            (ours(directory(0o755)), vec![Change::Mode(0o755, 0o2775)]),
            (ours(directory(0o2775)), vec![]),
            (ours(directory(0o1777)), vec![Change::Mode(0o1777, 0o3777)]),
            (directory(0o2775), vec![Change::Group(GROUP)]),
            (file(0o644), vec![Change::Group(GROUP), Change::Mode(0o644, 0o664)]),
            (ours(file(0o755)), vec![Change::Mode(0o755, 0o775)]),
            (ours(file(0o444)), vec![]),
            (ours(file(0o604)), vec![Change::Mode(0o604, 0o664)]),
            (ours(file(0o664)), vec![]),
            // Private, set-user-ID or set-group-ID, neither file nor directory.
            (file(0o600), vec![]),
            (directory(0o700), vec![]),
            (file(0o4755), vec![]),
            (file(0o2755), vec![]),
            (Entry { kind: FileType::Symlink, ..file(0o777) }, vec![]),
        ];
        for (entry, expected) in cases {
            assert_eq!(changes_of(Zone::Shared, &entry), expected, "{entry:?}");
        }
    }

    #[test]
    fn private_entries_of_root_are_known() {
        let accounts = Entry { uid: 33, ..directory(0o700) };
        for (zone, entry, expected) in [
            (Zone::Shared, file(0o600), true),
            (Zone::Shared, directory(0o700), true),
            (Zone::Shared, file(0o640), false),
            (Zone::Shared, accounts, false),
            (Zone::Shared, file(0o4700), false),
            (Zone::TreeDirectory, directory(0o700), false),
        ] {
            assert_eq!(RULES.is_private(zone, &entry), expected, "{zone:?} {entry:?}");
        }
    }

    #[test]
    fn trees_of_root_services_and_packages_are_never_entered() {
        for name in ["leonardo", "caddy", "supervisor", "rocm", "rocm-6.4.1", "amdgpu", "nvidia"] {
            assert_eq!(Zone::Top.child(name.as_bytes()), None, "{name}");
            assert_eq!(
                Zone::Shared.child(name.as_bytes()),
                Some(Zone::Shared),
                "the table is for the first level only"
            );
        }
        assert_eq!(Zone::Top.child(b"caddy2"), Some(Zone::Shared));
        assert_eq!(Zone::Top.child(b"storage"), Some(Zone::Shared));
        assert_eq!(Zone::Shared.child(b".ssh"), None);
    }

    #[test]
    fn opt_and_the_directory_of_trees_stay_and_the_trees_are_shared() {
        assert_eq!(Zone::Top.child(b".image"), Some(Zone::TreeDirectory));
        assert_eq!(Zone::TreeDirectory.child(b"micromamba"), Some(Zone::Shared));
        for zone in [Zone::Top, Zone::TreeDirectory] {
            assert_eq!(changes_of(zone, &directory(0o755)), []);
            assert!(RULES.descends(zone, &directory(0o700)));
        }
        assert!(
            RULES.descends(Zone::Shared, &directory(0o711))
                && !RULES.descends(Zone::Shared, &directory(0o700))
        );
    }
}
