//! The rules of `/opt`: shared with the group, except what root runs and what belongs to services or to packages.

use dirfd::FileType;

use crate::change::Change;
use crate::entry::{Entry, SET_GROUP_ID};

/// How a place below `/opt` is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// `/opt` itself: stays as it is; what lies in it is looked up in [`TABLE`].
    Top,
    /// Stays as it is; what lies in it is shared.
    Shelf,
    /// Shared with the group.
    Shared,
}

/// What the names directly below `/opt` mean; nothing stands for "never entered". A `*` at the end stands for any rest.
///
/// The image's build makes the parts of the image as they have to be (`images/base/steps/layout.sh`). The others come from
/// packages: changing a vendor's tree would copy gigabytes into a layer, and root runs what is in it.
const TABLE: &[(&str, Option<Place>)] = &[
    ("leonardo", None),
    ("caddy", None),
    ("supervisor", None),
    ("rocm*", None),
    ("amdgpu*", None),
    ("nvidia*", None),
    // Root renames the links to the trees that lie here.
    (".image", Some(Place::Shelf)),
];

impl Place {
    /// What `name` in this place is; nothing where it is left alone with all that is in it.
    pub fn below(self, name: &[u8]) -> Option<Self> {
        match self {
            Self::Top => {
                let row = TABLE.iter().find(|(pattern, _)| matches(pattern.as_bytes(), name));
                row.map_or(Some(Self::Shared), |(_, place)| *place)
            }
            Self::Shelf => Some(Self::Shared),
            // Keys are nobody else's business, whatever their modes are.
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

/// Whether what lies in a directory is looked at: not where nobody but the owner can reach it.
pub fn enters(place: Place, entry: &Entry) -> bool {
    place != Place::Shared || !entry.is_private()
}

/// What makes an entry right: the group, and for the group what the owner may do; only ever more, never less.
pub fn judge(place: Place, gid: u32, entry: &Entry) -> Vec<Change> {
    // Changing the group of a program that lends rights would take them away, and write access would hand them out.
    if place != Place::Shared || entry.is_special() || entry.is_private() || entry.lends_rights() {
        return Vec::new();
    }
    let inherits = if entry.kind == FileType::Directory { SET_GROUP_ID } else { 0 };
    let mode = entry.mode | u32::from(entry.owner_bits()) << 3 | inherits;
    let mut changes = Vec::new();
    if entry.gid != gid {
        changes.push(Change::Group(gid));
    }
    if entry.mode != mode {
        changes.push(Change::Mode(entry.mode, mode));
    }
    changes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::example::{directory, file};

    const GROUP: u32 = 1111;

    #[test]
    fn what_the_owner_may_do_the_group_may_and_only_directories_are_set_gid() {
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
            // Kept to itself, running with its owner's rights, and neither file nor directory.
            (file(0o600), vec![]),
            (directory(0o700), vec![]),
            (file(0o4755), vec![]),
            (file(0o2755), vec![]),
            (Entry { kind: FileType::Symlink, ..file(0o777) }, vec![]),
        ];
        for (entry, expected) in cases {
            assert_eq!(judge(Place::Shared, GROUP, &entry), expected, "{entry:?}");
        }
    }

    #[test]
    fn what_root_runs_and_what_belongs_to_services_or_packages_is_never_entered() {
        for name in ["leonardo", "caddy", "supervisor", "rocm", "rocm-6.4.1", "amdgpu", "nvidia"] {
            assert_eq!(Place::Top.below(name.as_bytes()), None, "{name}");
            assert_eq!(
                Place::Shared.below(name.as_bytes()),
                Some(Place::Shared),
                "deeper, it is only a name"
            );
        }
        assert_eq!(Place::Top.below(b"caddy2"), Some(Place::Shared));
        assert_eq!(Place::Top.below(b"storage"), Some(Place::Shared));
        assert_eq!(Place::Shared.below(b".ssh"), None);
    }

    #[test]
    fn the_top_and_the_shelf_of_trees_stay_and_the_trees_are_shared() {
        assert_eq!(Place::Top.below(b".image"), Some(Place::Shelf));
        assert_eq!(Place::Shelf.below(b"micromamba"), Some(Place::Shared));
        for place in [Place::Top, Place::Shelf] {
            assert_eq!(judge(place, GROUP, &directory(0o755)), []);
            assert!(enters(place, &directory(0o700)));
        }
        assert!(enters(Place::Shared, &directory(0o711)) && !enters(Place::Shared, &directory(0o700)));
    }
}
