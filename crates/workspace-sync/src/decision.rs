//! Decides about a tree from its state.

use std::path::PathBuf;

use crate::active_link::ActiveLink;
use crate::copy_marker::Marker;
use crate::mount_check::{self, Mount};
use crate::tree_paths::TreePaths;

/// State of the path of the workspace's copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum WorkspaceCopy {
    /// Nothing.
    Absent,
    /// A complete copy of this tree.
    Complete(Marker),
    /// Not a copy of this tree; describes what it is.
    Foreign(String),
}

/// State of a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TreeState {
    /// State of `/opt/NAME`.
    pub active_link: ActiveLink,
    /// True if the image has a copy of its own at `/opt/.image/NAME`.
    pub image: bool,
    /// State of the copy on the workspace.
    pub copy: WorkspaceCopy,
    /// True if the workspace is on a mounted volume.
    pub mounted: bool,
    /// `WORKSPACE_SYNC`.
    pub wanted: bool,
    /// A mount in the image's tree, or in the directory that the copy replaces.
    pub mount: Option<Mount>,
}

/// Decision about a tree.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// Do nothing: the image's tree is in use, for this reason.
    Leave(NoActionReason),
    /// Keep using the workspace's copy.
    Keep(Marker),
    /// Point the active link to the complete copy.
    Switch(Marker),
    /// Point the active link back to the image, because the copy is missing; then copy again, if configured.
    UseImage {
        /// True if a copy is made afterwards.
        then_copy: bool,
    },
    /// Copy the image's tree, then switch.
    Copy,
    /// Copy the directory, then replace it by a link.
    CopyDirectory,
    /// Replace the directory by a link to the complete copy.
    ReplaceDirectory(Marker),
    /// Do nothing: only the user can remove this obstacle.
    Refuse(Refusal),
}

/// Reasons to do nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoActionReason {
    /// `WORKSPACE_SYNC` is not true, and there is no earlier copy.
    NotWanted,
    /// No volume is mounted: a copy would be lost with the container.
    NotMounted,
    /// `/opt/NAME` is a directory of the image, and there is an earlier copy. A link would require emptying the
    /// directory, which the settings do not request.
    Directory,
    /// The user mounted another directory over the image's.
    Mount,
}

/// Obstacles to a copy or a switch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// There is no such tree.
    Missing,
    /// The active link is a link to another place.
    LinkElsewhere(PathBuf),
    /// The active link is a file.
    NotDirectory,
    /// The path of the copy is taken; describes by what.
    Occupied(String),
    /// A mount, which the switch would hide or empty.
    Mounted(PathBuf),
}

/// Returns the action for a tree.
#[must_use]
pub fn decide(state: &TreeState) -> Action {
    match (unless_mounted(state), &state.mount) {
        (
            Action::Copy
            | Action::CopyDirectory
            | Action::Switch(_)
            | Action::ReplaceDirectory(_)
            | Action::Refuse(Refusal::Occupied(_)),
            Some(mount),
        ) => match mount {
            Mount::Itself => Action::Leave(NoActionReason::Mount),
            Mount::Inside(place) => Action::Refuse(Refusal::Mounted(place.clone())),
        },
        (action, _) => action,
    }
}

fn unless_mounted(state: &TreeState) -> Action {
    let TreeState { active_link, image, copy, mounted, wanted, mount: _ } = state;
    match (active_link, copy) {
        (ActiveLink::Elsewhere(to), _) => Action::Refuse(Refusal::LinkElsewhere(to.clone())),
        (ActiveLink::Other, _) => Action::Refuse(Refusal::NotDirectory),
        (ActiveLink::Missing | ActiveLink::Image, WorkspaceCopy::Complete(marker)) => {
            Action::Switch(marker.clone())
        }
        (ActiveLink::Workspace, WorkspaceCopy::Complete(marker)) => Action::Keep(marker.clone()),
        (ActiveLink::Directory, WorkspaceCopy::Complete(marker)) if *wanted => {
            Action::ReplaceDirectory(marker.clone())
        }
        (ActiveLink::Directory, WorkspaceCopy::Complete(_)) => Action::Leave(NoActionReason::Directory),
        (ActiveLink::Workspace | ActiveLink::Missing | ActiveLink::Image, _) if !image => {
            Action::Refuse(Refusal::Missing)
        }
        (ActiveLink::Workspace | ActiveLink::Missing, copy) => {
            Action::UseImage { then_copy: *wanted && *mounted && *copy == WorkspaceCopy::Absent }
        }
        _ if !wanted => Action::Leave(NoActionReason::NotWanted),
        _ if !mounted => Action::Leave(NoActionReason::NotMounted),
        (_, WorkspaceCopy::Foreign(what)) => Action::Refuse(Refusal::Occupied(what.clone())),
        (ActiveLink::Directory, WorkspaceCopy::Absent) => Action::CopyDirectory,
        (ActiveLink::Image, WorkspaceCopy::Absent) => Action::Copy,
    }
}

/// Returns the reason to do nothing as text, unless it is the default.
pub fn explain(why: NoActionReason, wanted: bool, tree: &TreePaths) -> Option<String> {
    match why {
        NoActionReason::Directory => Some(format!(
            "using the image's {} instead of the copy at {}: WORKSPACE_SYNC is not true",
            tree.active_link.display(),
            tree.copy.display()
        )),
        NoActionReason::Mount => {
            Some(format!("{} is a mount point and is not synced", tree.active_link.display()))
        }
        NoActionReason::NotMounted if wanted => Some("no volume is mounted at the workspace".to_owned()),
        NoActionReason::NotMounted | NoActionReason::NotWanted => None,
    }
}

/// Returns the text of an obstacle, and a hint for the user.
pub fn describe(refusal: &Refusal, tree: &TreePaths) -> (String, String) {
    let active_link = tree.active_link.display();
    match refusal {
        Refusal::Mounted(mount) => mount_check::describe(tree, mount),
        Refusal::Missing => (
            format!("{active_link} does not exist"),
            "OPT_SYNC must list directories that exist below /opt".to_owned(),
        ),
        Refusal::LinkElsewhere(to) => (
            format!("{active_link} is a link to {}, made by another user", to.display()),
            format!("remove {} from OPT_SYNC, or remove the link", tree.name),
        ),
        Refusal::NotDirectory => {
            (format!("{active_link} is not a directory"), format!("remove {} from OPT_SYNC", tree.name))
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
    use crate::copy_marker::tests::marker;

    fn of(active_link: ActiveLink, image: bool, copy: WorkspaceCopy, mounted: bool, wanted: bool) -> Action {
        decide(&TreeState { active_link, image, copy, mounted, wanted, mount: None })
    }

    #[test]
    fn a_tree_with_a_mount_is_neither_copied_nor_switched() {
        let seen = |active_link, copy, wanted, mount: Mount| {
            decide(&TreeState { active_link, image: true, copy, mounted: true, wanted, mount: Some(mount) })
        };
        let inside = || Mount::Inside("/opt/x/models".into());
        let refused = Action::Refuse(Refusal::Mounted("/opt/x/models".into()));
        for active_link in [ActiveLink::Image, ActiveLink::Directory] {
            for copy in [
                WorkspaceCopy::Absent,
                WorkspaceCopy::Complete(marker()),
                WorkspaceCopy::Foreign("a directory".into()),
            ] {
                assert_eq!(seen(active_link.clone(), copy.clone(), true, inside()), refused, "{copy:?}");
                assert_eq!(
                    seen(active_link.clone(), copy, true, Mount::Itself),
                    Action::Leave(NoActionReason::Mount)
                );
            }
            let unwanted = seen(active_link, WorkspaceCopy::Absent, false, inside());
            assert_eq!(unwanted, Action::Leave(NoActionReason::NotWanted));
        }
        assert_eq!(
            seen(ActiveLink::Image, WorkspaceCopy::Complete(marker()), false, inside()),
            refused,
            "it would be hidden"
        );
        let used = seen(ActiveLink::Workspace, WorkspaceCopy::Complete(marker()), true, inside());
        assert_eq!(used, Action::Keep(marker()));
    }

    #[test]
    fn the_first_start_copies_only_what_was_asked_for_onto_a_volume() {
        let first = |mounted, wanted| of(ActiveLink::Image, true, WorkspaceCopy::Absent, mounted, wanted);
        assert_eq!(first(true, true), Action::Copy);
        assert_eq!(first(false, true), Action::Leave(NoActionReason::NotMounted));
        assert_eq!(first(true, false), Action::Leave(NoActionReason::NotWanted));
        assert_eq!(first(false, false), Action::Leave(NoActionReason::NotWanted));
    }

    #[test]
    fn a_copy_from_earlier_is_used_whatever_the_setting_says_now() {
        for wanted in [true, false] {
            assert_eq!(
                of(ActiveLink::Image, true, WorkspaceCopy::Complete(marker()), true, wanted),
                Action::Switch(marker())
            );
            assert_eq!(
                of(ActiveLink::Workspace, true, WorkspaceCopy::Complete(marker()), true, wanted),
                Action::Keep(marker())
            );
        }
    }

    #[test]
    fn a_directory_of_the_image_is_replaced_only_if_that_is_asked_for() {
        let directory =
            |wanted| of(ActiveLink::Directory, false, WorkspaceCopy::Complete(marker()), true, wanted);
        assert_eq!(directory(true), Action::ReplaceDirectory(marker()));
        assert_eq!(directory(false), Action::Leave(NoActionReason::Directory));
    }

    #[test]
    fn an_active_link_whose_copy_is_gone_returns_to_the_image_first() {
        let gone = |mounted, wanted, copy| of(ActiveLink::Workspace, true, copy, mounted, wanted);
        assert_eq!(gone(true, true, WorkspaceCopy::Absent), Action::UseImage { then_copy: true });
        assert_eq!(gone(true, false, WorkspaceCopy::Absent), Action::UseImage { then_copy: false });
        assert_eq!(gone(false, true, WorkspaceCopy::Absent), Action::UseImage { then_copy: false });
        assert_eq!(
            gone(true, true, WorkspaceCopy::Foreign("a file".into())),
            Action::UseImage { then_copy: false }
        );
        assert_eq!(
            of(ActiveLink::Workspace, false, WorkspaceCopy::Absent, true, true),
            Action::Refuse(Refusal::Missing)
        );
    }

    #[test]
    fn what_belongs_to_somebody_is_never_touched() {
        let elsewhere = || ActiveLink::Elsewhere("/data".into());
        assert_eq!(
            of(elsewhere(), true, WorkspaceCopy::Complete(marker()), true, true),
            Action::Refuse(Refusal::LinkElsewhere("/data".into()))
        );
        assert_eq!(
            of(ActiveLink::Other, false, WorkspaceCopy::Absent, true, true),
            Action::Refuse(Refusal::NotDirectory)
        );
        let occupied = WorkspaceCopy::Foreign("a directory without a marker".into());
        for active_link in [ActiveLink::Image, ActiveLink::Directory] {
            assert_eq!(
                of(active_link.clone(), true, occupied.clone(), true, true),
                Action::Refuse(Refusal::Occupied("a directory without a marker".into()))
            );
            assert_eq!(
                of(active_link, true, occupied.clone(), true, false),
                Action::Leave(NoActionReason::NotWanted),
                "who did not ask for a copy may use the name"
            );
        }
    }

    #[test]
    fn a_tree_that_is_not_there_is_refused() {
        assert_eq!(
            of(ActiveLink::Missing, false, WorkspaceCopy::Absent, true, true),
            Action::Refuse(Refusal::Missing)
        );
        assert_eq!(
            of(ActiveLink::Missing, true, WorkspaceCopy::Absent, true, false),
            Action::UseImage { then_copy: false },
            "an image whose link was lost gets it back"
        );
    }
}
