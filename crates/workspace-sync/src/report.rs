//! The result for each tree, for people and for `boot`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::holders::Holder;
use crate::tree_paths::TreePaths;

/// The copy that programs use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActiveCopy {
    /// The image's own.
    Image,
    /// The workspace's.
    Workspace,
    /// A directory at `/opt/NAME`.
    Directory,
    /// Something else, or nothing.
    Other,
}

/// Result of a run for one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Nothing was asked for, or there is no volume.
    Skipped,
    /// The workspace's copy was in use already, or is now without a copy having been made.
    Used,
    /// It was copied, and is in use.
    Copied,
    /// A directory at `/opt/NAME` is in use, so that the copy could not take its place.
    Kept,
    /// Something asked for was not done; whatever was in use still is.
    Failed,
}

/// About one tree; `--json` prints one of these a line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its name below `/opt`.
    pub tree: String,
    /// Result of the run.
    pub outcome: Outcome,
    /// The copy that programs use now.
    pub in_use: ActiveCopy,
    /// The workspace's copy, or where it would be.
    pub copy: PathBuf,
    /// The cause, unless all went well.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// A hint for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// True if the image has a different generation than the copy.
    pub outdated: bool,
    /// True if changes of the tree in use before are still to be carried over, by `follow`.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settling: bool,
    /// True if another attempt may succeed without the user's help: `follow` makes it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retrying: bool,
    /// Processes that may still write to the tree that was in use before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

impl Report {
    /// A report about a tree of which nothing is known yet.
    #[must_use]
    pub fn new(tree: &TreePaths) -> Self {
        Self {
            tree: tree.name.clone(),
            outcome: Outcome::Skipped,
            in_use: ActiveCopy::Other,
            copy: tree.copy.clone(),
            cause: None,
            hint: None,
            outdated: false,
            settling: false,
            retrying: false,
            holders: Vec::new(),
        }
    }

    /// Returns what the stage ends with although nothing failed, if it is this tree's.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let is_reported = self.outcome == Outcome::Kept || self.outdated || self.settling;
        self.cause.as_ref().filter(|_| is_reported).map(|cause| format!("{}: {cause}", self.tree))
    }

    /// One line for people.
    #[must_use]
    pub fn line(&self) -> String {
        let copy = self.copy.display();
        let mut line = match self.outcome {
            Outcome::Skipped => format!("{}: using the image's copy", self.tree),
            Outcome::Used => format!("{}: {copy} is in use", self.tree),
            Outcome::Copied => format!("{}: copied to {copy}, now in use", self.tree),
            Outcome::Kept => format!("{}: the image's directory stays in use", self.tree),
            Outcome::Failed => format!("{}: not on the workspace", self.tree),
        };
        if let Some(cause) = &self.cause {
            line.extend([": ", cause]);
        }
        line
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_written_form_is_an_interface() {
        let report = Report {
            tree: "x".into(),
            outcome: Outcome::Copied,
            in_use: ActiveCopy::Workspace,
            copy: "/workspace/x".into(),
            cause: None,
            hint: None,
            outdated: false,
            settling: true,
            retrying: true,
            holders: vec![Holder { pid: 7, name: "python3".into(), writes: true, hidden: false }],
        };
        assert_eq!(
            serde_json::to_string(&report).unwrap(),
            r#"{"tree":"x","outcome":"copied","in_use":"workspace","copy":"/workspace/x","outdated":false,"settling":true,"retrying":true,"holders":[{"pid":7,"name":"python3","writes":true}]}"#
        );
        assert_eq!(report.line(), "x: copied to /workspace/x, now in use");
    }
}
