//! The steps that follow from a decision: what `--dry-run` prints and what a real run performs.

use std::fmt;
use std::path::PathBuf;

use crate::decision::Action;
use crate::tree_paths::TreePaths;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy, compare, and rename the copy into place.
    Copy {
        /// From here.
        from: PathBuf,
        /// To here.
        to: PathBuf,
    },
    /// Point the active link to this directory.
    Point {
        /// The active link.
        active_link: PathBuf,
        /// Target of the link.
        to: PathBuf,
    },
    /// Replace the directory at the active link by a link.
    ReplaceDirectory {
        /// The active link.
        active_link: PathBuf,
        /// Target of the link.
        to: PathBuf,
    },
    /// Copy changes that were made meanwhile in the tree in use before.
    SyncDelta {
        /// From here.
        from: PathBuf,
        /// To here.
        to: PathBuf,
    },
}

impl fmt::Display for Step {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Copy { from, to } => write!(formatter, "copy {} to {}", from.display(), to.display()),
            Self::Point { active_link, to } => {
                write!(formatter, "point {} to {}", active_link.display(), to.display())
            }
            Self::ReplaceDirectory { active_link, to } => {
                write!(
                    formatter,
                    "replace the directory {} by a link to {}",
                    active_link.display(),
                    to.display()
                )
            }
            Self::SyncDelta { from, to } => {
                write!(formatter, "copy changes from {} to {}", from.display(), to.display())
            }
        }
    }
}

/// Returns the steps of `action`; `leftover`: changes of the image's tree must still be copied.
#[must_use]
pub fn of(action: &Action, tree: &TreePaths, leftover: bool) -> Vec<Step> {
    let point = |to: &PathBuf| Step::Point { active_link: tree.active_link.clone(), to: to.clone() };
    let sync_delta = || Step::SyncDelta { from: tree.image.clone(), to: tree.copy.clone() };
    let copy = |from: &PathBuf| Step::Copy { from: from.clone(), to: tree.copy.clone() };
    let replace = || Step::ReplaceDirectory { active_link: tree.active_link.clone(), to: tree.copy.clone() };
    let mut steps = match action {
        Action::Leave(_) | Action::Refuse(_) | Action::Keep(_) => vec![],
        Action::Switch(_) => vec![point(&tree.copy)],
        Action::UseImage { then_copy: false } => vec![point(&tree.image)],
        Action::UseImage { then_copy: true } => {
            return vec![point(&tree.image), copy(&tree.image), point(&tree.copy), sync_delta()];
        }
        Action::Copy => return vec![copy(&tree.image), point(&tree.copy), sync_delta()],
        Action::CopyDirectory => return vec![copy(&tree.active_link), replace()],
        Action::ReplaceDirectory(_) => return vec![replace()],
    };
    if leftover && matches!(action, Action::Keep(_) | Action::Switch(_)) {
        steps.push(sync_delta());
    }
    steps
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::decision::NoActionReason;
    use std::path::Path;

    #[test]
    fn a_first_copy_is_made_then_switched_to_then_completed() {
        let tree = TreePaths::new("x", Path::new("/opt"), Path::new("/ws"), "s");
        let text = |action: &Action, leftover| -> Vec<String> {
            of(action, &tree, leftover).iter().map(ToString::to_string).collect()
        };
        let whole = [
            "copy /opt/.image/x to /ws/x",
            "point /opt/x to /ws/x",
            "copy changes from /opt/.image/x to /ws/x",
        ];
        assert_eq!(text(&Action::Copy, false), whole);
        assert_eq!(text(&Action::UseImage { then_copy: true }, false)[0], "point /opt/x to /opt/.image/x");
        assert_eq!(text(&Action::UseImage { then_copy: true }, false)[1..], whole);
        assert_eq!(
            text(&Action::CopyDirectory, false),
            ["copy /opt/x to /ws/x", "replace the directory /opt/x by a link to /ws/x"]
        );
        assert_eq!(text(&Action::Leave(NoActionReason::NotMounted), true), [""; 0]);
    }
}
