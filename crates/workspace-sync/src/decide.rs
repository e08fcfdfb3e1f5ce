//! Decides about a tree from its state.

use std::path::PathBuf;

use crate::entrance::Entrance;
use crate::marker::Marker;
use crate::mounted::{self, Mount};
use crate::tree::Tree;

/// State of the place of the workspace's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Copy {
    /// Nothing.
    Absent,
    /// A whole copy of this tree.
    Whole(Marker),
    /// Something that is not a copy of this tree, in words.
    Foreign(String),
}

/// State of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// State of `/opt/NAME`.
    pub entrance: Entrance,
    /// True if the image has a copy of its own at `/opt/.image/NAME`.
    pub image: bool,
    /// State of the copy on the workspace.
    pub copy: Copy,
    /// True if the workspace is on a mounted volume.
    pub mounted: bool,
    /// `WORKSPACE_SYNC`.
    pub wanted: bool,
    /// A mount in the image's tree, or in what makes way for the copy.
    pub mount: Option<Mount>,
}

/// Decision about a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Nothing: the image's tree is in use, for the reason given.
    Leave(Why),
    /// Nothing but looking after it: the workspace's copy is in use.
    Keep(Marker),
    /// Point the entrance to the whole copy that is there.
    Switch(Marker),
    /// Point the entrance back to the image: the copy that it points to is not there. And then copy, if asked for.
    Return {
        /// True if a copy is made afterwards.
        then_copy: bool,
    },
    /// Copy the image's tree, then switch.
    Copy,
    /// Copy the directory, then put a link in its place.
    CopyDirectory,
    /// Put a link to the whole copy in the place of the directory.
    ReplaceDirectory(Marker),
    /// Something is in the way that only the user can decide about.
    Refuse(Refusal),
}

/// Reasons to do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `WORKSPACE_SYNC` is not true, and there is no copy from earlier.
    NotWanted,
    /// There is no volume: a copy would be lost with the container.
    NotMounted,
    /// A directory of the image is in the place of the link to a copy from earlier. Putting the link there may mean
    /// emptying it, which the settings do not ask for.
    Directory,
    /// The user mounted a directory of their own in the place of the image's.
    Mount,
}

/// Obstacles to a copy or a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such tree.
    Missing,
    /// The entrance is a link to another place.
    LinkElsewhere(PathBuf),
    /// The entrance is a file.
    NotDirectory,
    /// The copy's place is taken, in words.
    Occupied(String),
    /// Something is mounted here: the switch would hide it, or empty it.
    Mounted(PathBuf),
}

/// Decides.
#[must_use]
pub fn decide(seen: &Seen) -> Action {
    match (unless_mounted(seen), &seen.mount) {
        (
            Action::Copy
            | Action::CopyDirectory
            | Action::Switch(_)
            | Action::ReplaceDirectory(_)
            | Action::Refuse(Refusal::Occupied(_)),
            Some(mount),
        ) => match mount {
            Mount::Itself => Action::Leave(Why::Mount),
            Mount::Inside(place) => Action::Refuse(Refusal::Mounted(place.clone())),
        },
        (action, _) => action,
    }
}

fn unless_mounted(seen: &Seen) -> Action {
    let Seen { entrance, image, copy, mounted, wanted, mount: _ } = seen;
    match (entrance, copy) {
        (Entrance::Elsewhere(to), _) => Action::Refuse(Refusal::LinkElsewhere(to.clone())),
        (Entrance::Other, _) => Action::Refuse(Refusal::NotDirectory),
        (Entrance::Missing | Entrance::Image, Copy::Whole(marker)) => Action::Switch(marker.clone()),
        (Entrance::Workspace, Copy::Whole(marker)) => Action::Keep(marker.clone()),
        (Entrance::Directory, Copy::Whole(marker)) if *wanted => Action::ReplaceDirectory(marker.clone()),
        (Entrance::Directory, Copy::Whole(_)) => Action::Leave(Why::Directory),
        (Entrance::Workspace | Entrance::Missing | Entrance::Image, _) if !image => {
            Action::Refuse(Refusal::Missing)
        }
        (Entrance::Workspace | Entrance::Missing, copy) => {
            Action::Return { then_copy: *wanted && *mounted && *copy == Copy::Absent }
        }
        _ if !wanted => Action::Leave(Why::NotWanted),
        _ if !mounted => Action::Leave(Why::NotMounted),
        (_, Copy::Foreign(what)) => Action::Refuse(Refusal::Occupied(what.clone())),
        (Entrance::Directory, Copy::Absent) => Action::CopyDirectory,
        (Entrance::Image, Copy::Absent) => Action::Copy,
    }
}

/// Returns why nothing is done.
pub fn explain(why: Why, wanted: bool, tree: &Tree) -> Option<String> {
    match why {
        Why::Directory => Some(format!(
            "the image's {} is used, and not the copy at {}, because WORKSPACE_SYNC is not true",
            tree.entrance.display(),
            tree.copy.display()
        )),
        Why::Mount => Some(format!("{} is a mount, and stays where it is", tree.entrance.display())),
        Why::NotMounted if wanted => Some("no volume is mounted at the workspace".to_owned()),
        Why::NotMounted | Why::NotWanted => None,
    }
}

/// Returns the obstacle in words, and a hint for the user.
pub fn in_words(refusal: &Refusal, tree: &Tree) -> (String, String) {
    let entrance = tree.entrance.display();
    match refusal {
        Refusal::Mounted(mount) => mounted::in_words(tree, mount),
        Refusal::Missing => (
            format!("{entrance} does not exist"),
            "OPT_SYNC takes names of directories that the image has below /opt".to_owned(),
        ),
        Refusal::LinkElsewhere(to) => (
            format!("{entrance} is a link to {}, made by another user", to.display()),
            format!("remove {} from OPT_SYNC, or remove the link", tree.name),
        ),
        Refusal::NotDirectory => {
            (format!("{entrance} is not a directory"), format!("remove {} from OPT_SYNC", tree.name))
        }
        Refusal::Occupied(what) => (
            format!("{} is taken: {what}", tree.copy.display()),
            "move it away, then run: workspace-sync run; it is never overwritten".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marker() -> Marker {
        Marker {
            tree: "x".into(),
            generation: "g".into(),
            manifest: "m".into(),
            entries: 1,
            bytes: 2,
            completed_at: 3,
        }
    }

    fn of(entrance: Entrance, image: bool, copy: Copy, mounted: bool, wanted: bool) -> Action {
        decide(&Seen { entrance, image, copy, mounted, wanted, mount: None })
    }

    #[test]
    fn a_tree_with_a_mount_is_neither_copied_nor_switched() {
        let seen = |entrance, copy, wanted, mount: Mount| {
            decide(&Seen { entrance, image: true, copy, mounted: true, wanted, mount: Some(mount) })
        };
        let inside = || Mount::Inside("/opt/x/models".into());
        let refused = Action::Refuse(Refusal::Mounted("/opt/x/models".into()));
        for entrance in [Entrance::Image, Entrance::Directory] {
            for copy in [Copy::Absent, Copy::Whole(marker()), Copy::Foreign("a directory".into())] {
                assert_eq!(seen(entrance.clone(), copy.clone(), true, inside()), refused, "{copy:?}");
                assert_eq!(seen(entrance.clone(), copy, true, Mount::Itself), Action::Leave(Why::Mount));
            }
            let unwanted = seen(entrance, Copy::Absent, false, inside());
            assert_eq!(unwanted, Action::Leave(Why::NotWanted));
        }
        assert_eq!(
            seen(Entrance::Image, Copy::Whole(marker()), false, inside()),
            refused,
            "it would be hidden"
        );
        let used = seen(Entrance::Workspace, Copy::Whole(marker()), true, inside());
        assert_eq!(used, Action::Keep(marker()));
    }

    #[test]
    fn the_first_start_copies_only_what_was_asked_for_onto_a_volume() {
        let first = |mounted, wanted| of(Entrance::Image, true, Copy::Absent, mounted, wanted);
        assert_eq!(first(true, true), Action::Copy);
        assert_eq!(first(false, true), Action::Leave(Why::NotMounted));
        assert_eq!(first(true, false), Action::Leave(Why::NotWanted));
        assert_eq!(first(false, false), Action::Leave(Why::NotWanted));
    }

    #[test]
    fn a_copy_from_earlier_is_used_whatever_the_setting_says_now() {
        for wanted in [true, false] {
            assert_eq!(
                of(Entrance::Image, true, Copy::Whole(marker()), true, wanted),
                Action::Switch(marker())
            );
            assert_eq!(
                of(Entrance::Workspace, true, Copy::Whole(marker()), true, wanted),
                Action::Keep(marker())
            );
        }
    }

    #[test]
    fn a_directory_of_the_image_is_replaced_only_if_that_is_asked_for() {
        let directory = |wanted| of(Entrance::Directory, false, Copy::Whole(marker()), true, wanted);
        assert_eq!(directory(true), Action::ReplaceDirectory(marker()));
        assert_eq!(directory(false), Action::Leave(Why::Directory));
    }

    #[test]
    fn an_entrance_whose_copy_is_gone_returns_to_the_image_first() {
        let gone = |mounted, wanted, copy| of(Entrance::Workspace, true, copy, mounted, wanted);
        assert_eq!(gone(true, true, Copy::Absent), Action::Return { then_copy: true });
        assert_eq!(gone(true, false, Copy::Absent), Action::Return { then_copy: false });
        assert_eq!(gone(false, true, Copy::Absent), Action::Return { then_copy: false });
        assert_eq!(gone(true, true, Copy::Foreign("a file".into())), Action::Return { then_copy: false });
        assert_eq!(
            of(Entrance::Workspace, false, Copy::Absent, true, true),
            Action::Refuse(Refusal::Missing)
        );
    }

    #[test]
    fn what_belongs_to_somebody_is_never_touched() {
        let elsewhere = || Entrance::Elsewhere("/data".into());
        assert_eq!(
            of(elsewhere(), true, Copy::Whole(marker()), true, true),
            Action::Refuse(Refusal::LinkElsewhere("/data".into()))
        );
        assert_eq!(
            of(Entrance::Other, false, Copy::Absent, true, true),
            Action::Refuse(Refusal::NotDirectory)
        );
        let occupied = Copy::Foreign("a directory without a marker".into());
        for entrance in [Entrance::Image, Entrance::Directory] {
            assert_eq!(
                of(entrance.clone(), true, occupied.clone(), true, true),
                Action::Refuse(Refusal::Occupied("a directory without a marker".into()))
            );
            assert_eq!(
                of(entrance, true, occupied.clone(), true, false),
                Action::Leave(Why::NotWanted),
                "who did not ask for a copy may use the name"
            );
        }
    }

    #[test]
    fn a_tree_that_is_not_there_is_refused() {
        assert_eq!(of(Entrance::Missing, false, Copy::Absent, true, true), Action::Refuse(Refusal::Missing));
        assert_eq!(
            of(Entrance::Missing, true, Copy::Absent, true, false),
            Action::Return { then_copy: false },
            "an image whose link was lost gets it back"
        );
    }
}
