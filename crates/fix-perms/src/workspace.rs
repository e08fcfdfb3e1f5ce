//! The rules of the workspace: what root makes and made there is open to the volume's owner; private things stay private.

use std::io;

use dirfd::FileType;

use crate::acl::{Acl, List};
use crate::change::Change;
use crate::entry::{ALL, Entry};

/// How a place in the workspace is treated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The workspace's own directory: always has the default ACL.
    Top,
    /// Open to the volume's owner.
    Open,
    /// In a `.ssh` directory: nothing is given to anybody.
    Keys,
}

/// Reads an ACL of the entry under judgement; nothing where it has none.
pub type Read<'a> = &'a dyn Fn(List) -> io::Result<Option<Acl>>;

impl Place {
    /// What `name` in this place is.
    pub fn below(self, name: &[u8]) -> Self {
        match self {
            Self::Top | Self::Open if name != b".ssh" => Self::Open,
            _ => Self::Keys,
        }
    }
}

/// Whether what lies in a directory is looked at: not where the volume's owner cannot come, because somebody keeps it to itself.
pub fn enters(place: Place, uid: u32, entry: &Entry) -> bool {
    place == Place::Top || entry.uid == uid || !entry.is_private()
}

/// What makes an entry right for the volume's owner `uid`.
pub fn judge(place: Place, uid: u32, name: &[u8], entry: &Entry, read: Read<'_>) -> io::Result<Vec<Change>> {
    if entry.is_special() || entry.lends_rights() {
        return Ok(Vec::new());
    }
    let mut changes = Vec::new();
    if place == Place::Keys {
        let mode = entry.mode & !too_open(name, entry.kind);
        if entry.mode != mode {
            changes.push(Change::Mode(entry.mode, mode));
        }
        // A list from the directory above would open every key that is made here to somebody.
        if entry.kind == FileType::Directory && read(List::Default)?.is_some() {
            changes.push(Change::NoDefault);
        }
        return Ok(changes);
    }
    changes.extend(access(place, uid, entry, read)?);
    if entry.kind == FileType::Directory && (place == Place::Top || !entry.is_private()) {
        changes.extend(default(uid, entry, read)?);
    }
    Ok(changes)
}

/// The bits that ssh and sshd refuse: others may not write, and a private key is its owner's alone.
fn too_open(name: &[u8], kind: FileType) -> u32 {
    let is_private_key =
        kind == FileType::RegularFile && name.starts_with(b"id_") && !name.ends_with(b".pub");
    if is_private_key { 0o077 } else { 0o022 }
}

/// Gives `uid` what root's own bits allow, where root owns the entry and does not keep it to itself.
fn access(place: Place, uid: u32, entry: &Entry, read: Read<'_>) -> io::Result<Option<Change>> {
    let wanted = entry.owner_bits();
    let has = |bits: u8| bits & wanted == wanted;
    let is_private = entry.is_private() && place != Place::Top;
    if entry.uid != 0 || is_private || has(entry.group_bits() & entry.other_bits()) {
        return Ok(None);
    }
    let acl = read(List::Access)?.unwrap_or_else(|| Acl::of(entry));
    let is_open = acl.permits(uid).is_some_and(has);
    Ok((!is_open).then(|| Change::Access(uid, wanted, acl.granting(uid, wanted))))
}

fn default(uid: u32, entry: &Entry, read: Read<'_>) -> io::Result<Option<Change>> {
    let acl = match read(List::Default)? {
        Some(acl) if acl.permits(uid) == Some(ALL) => return Ok(None),
        Some(acl) => acl,
        None => read(List::Access)?.unwrap_or_else(|| Acl::of(entry)).into_default(),
    };
    Ok(Some(Change::Default(uid, acl.granting(uid, ALL))))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry::example::{directory, file};

    const UID: u32 = 1000;

    #[allow(clippy::unnecessary_wraps, reason = "it stands for a read")]
    fn none(_: List) -> io::Result<Option<Acl>> {
        Ok(None)
    }

    fn judged(place: Place, name: &str, entry: &Entry, read: Read<'_>) -> Vec<Change> {
        judge(place, UID, name.as_bytes(), entry, read).unwrap()
    }

    fn granted(entry: &Entry, digit: u8) -> Change {
        Change::Access(UID, digit, Acl::of(entry).granting(UID, digit))
    }

    fn made_open(entry: &Entry) -> Change {
        Change::Default(UID, Acl::of(entry).granting(UID, ALL))
    }

    #[test]
    fn what_root_owns_is_opened_as_far_as_root_may_use_it() {
        for (mode, digit) in [(0o644, 6), (0o755, 7), (0o444, 4), (0o640, 6), (0o664, 6), (0o604, 6)] {
            let entry = file(mode);
            let expected = if mode == 0o444 { vec![] } else { vec![granted(&entry, digit)] };
            assert_eq!(judged(Place::Open, "x", &entry, &none), expected, "{mode:o}");
        }
        let entry = directory(0o755);
        assert_eq!(judged(Place::Open, "x", &entry, &none), [granted(&entry, 7), made_open(&entry)]);
    }

    #[test]
    fn what_is_open_private_lends_rights_or_belongs_to_somebody_is_left_alone() {
        let foreign = Entry { uid: 33, ..file(0o644) };
        for entry in [file(0o666), file(0o600), file(0o400), file(0o4755), file(0o2755), foreign] {
            assert_eq!(judged(Place::Open, "x", &entry, &none), [], "{entry:?}");
        }
        assert_eq!(judged(Place::Open, "x", &directory(0o700), &none), []);
        assert_eq!(judged(Place::Open, "x", &Entry { kind: FileType::Symlink, ..file(0o644) }, &none), []);
    }

    #[test]
    fn a_directory_of_anybody_gets_the_default_list_unless_it_is_kept_private() {
        for uid in [33, UID] {
            let entry = Entry { uid, ..directory(0o755) };
            assert_eq!(judged(Place::Open, "x", &entry, &none), [made_open(&entry)]);
            assert_eq!(judged(Place::Open, "x", &Entry { uid, ..directory(0o700) }, &none), []);
        }
        let top = Entry { uid: UID, ..directory(0o700) };
        assert_eq!(
            judged(Place::Top, "", &top, &none),
            [made_open(&top)],
            "the workspace itself always does"
        );
        let top = directory(0o700);
        assert_eq!(judged(Place::Top, "", &top, &none), [granted(&top, 7), made_open(&top)]);
    }

    #[test]
    fn what_is_right_already_is_left_alone() {
        let entry = directory(0o775);
        let right = |_| Ok(Some(Acl::of(&directory(0o755)).granting(UID, ALL)));
        assert_eq!(judged(Place::Open, "x", &entry, &right), []);
        assert_eq!(judged(Place::Top, "", &entry, &right), []);
    }

    #[test]
    fn keys_are_never_opened_and_what_ssh_refuses_is_closed() {
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
            assert_eq!(judged(Place::Keys, name, &entry, &none), expected, "{name} {:o}", entry.mode);
        }
        let inherited = |_| Ok(Some(Acl::of(&directory(0o755))));
        assert_eq!(judged(Place::Keys, ".ssh", &directory(0o700), &inherited), [Change::NoDefault]);
        assert_eq!(Place::Top.below(b".ssh").below(b"deeper"), Place::Keys);
        assert_eq!(Place::Open.below(b"ssh"), Place::Open);
    }

    #[test]
    fn private_directories_are_entered_where_their_owner_is_the_volumes() {
        for (uid, mode, entered) in
            [(0, 0o755, true), (0, 0o700, false), (33, 0o700, false), (UID, 0o700, true)]
        {
            assert_eq!(
                enters(Place::Open, UID, &Entry { uid, ..directory(mode) }),
                entered,
                "{uid} {mode:o}"
            );
        }
        assert!(enters(Place::Top, UID, &directory(0o700)));
    }
}
