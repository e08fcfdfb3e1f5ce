//! The steps that follow from a decision: what `--dry-run` prints and what a real run performs.

use std::path::PathBuf;

use crate::decision::Action;
use crate::tree_paths::TreePaths;

/// One step.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// Copy the tree at this path, compare, and rename the copy into place.
    Copy(PathBuf),
    /// Point the active link to this directory.
    Point(PathBuf),
    /// Replace the directory at the active link by a link to the copy.
    ReplaceDirectory,
    /// Copy changes that were made meanwhile in the image's tree.
    SyncDelta,
}

impl Step {
    /// Returns the step as text.
    pub fn describe(&self, tree: &TreePaths) -> String {
        let (active_link, copy) = (tree.active_link.display(), tree.copy.display());
        match self {
            Self::Copy(from) => format!("copy {} to {copy}", from.display()),
            Self::Point(to) => format!("point {active_link} to {}", to.display()),
            Self::ReplaceDirectory => format!("replace the directory {active_link} by a link to {copy}"),
            Self::SyncDelta => format!("copy changes from {} to {copy}", tree.image.display()),
        }
    }
}

/// Returns the steps of `action`; `leftover`: changes of the image's tree must still be copied.
#[must_use]
pub fn of(action: &Action, tree: &TreePaths, leftover: bool) -> Vec<Step> {
    use Step::{Copy, Point, ReplaceDirectory, SyncDelta};
    let (image, copy) = (|| tree.image.clone(), || tree.copy.clone());
    match action {
        Action::Keep(_) if leftover => vec![SyncDelta],
        Action::Leave(_) | Action::Refuse(_) | Action::Keep(_) => vec![],
        Action::Switch(_) if leftover => vec![Point(copy()), SyncDelta],
        Action::Switch(_) => vec![Point(copy())],
        Action::UseImage { then_copy: false } => vec![Point(image())],
        Action::UseImage { then_copy: true } => vec![Point(image()), Copy(image()), Point(copy()), SyncDelta],
        Action::Copy => vec![Copy(image()), Point(copy()), SyncDelta],
        Action::CopyDirectory => vec![Copy(tree.active_link.clone()), ReplaceDirectory],
        Action::ReplaceDirectory(_) => vec![ReplaceDirectory],
    }
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
            of(action, &tree, leftover).iter().map(|step| step.describe(&tree)).collect()
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
