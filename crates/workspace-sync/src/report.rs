//! The result for each tree, for people and for `boot`.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::holders::Holder;
use crate::tree_paths::TreePaths;

/// The copy that programs use.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ActiveCopy {
    /// The image's own.
    Image,
    /// The workspace's.
    Workspace,
    /// A directory at `/opt/NAME`.
    Directory,
    /// Something else, or nothing.
    #[default]
    Other,
}

/// Result of a run for one tree.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// Not configured, or no volume is mounted.
    Skipped,
    /// An existing copy on the workspace is in use.
    Used,
    /// A new copy is in use.
    Copied,
    /// A directory at `/opt/NAME` is in use, so that the copy could not take its place.
    Kept,
    /// The tree was not synced; the tree in use before still is.
    Failed,
}

/// Result for one tree; `--json` prints one per line.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Its name below `/opt`.
    pub tree: String,
    /// Result of the run.
    pub outcome: Outcome,
    /// The copy that programs use now.
    pub in_use: ActiveCopy,
    /// Path of the workspace's copy, which may be missing.
    pub copy: PathBuf,
    /// Cause of a failure or a remark.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cause: Option<String>,
    /// A hint for the user.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// True if the image has a different generation than the copy.
    pub outdated: bool,
    /// True if `follow` still copies changes of the tree in use before.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub settling: bool,
    /// True if `follow` retries.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub retrying: bool,
    /// Processes that may still write to the tree that was in use before.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub holders: Vec<Holder>,
}

impl Report {
    /// Returns the report of a tree before it is inspected.
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

    /// Returns the cause as a remark of the stage, if the tree did not fail.
    #[must_use]
    pub fn remark(&self) -> Option<String> {
        let is_reported = self.outcome == Outcome::Kept || self.outdated || self.settling;
        self.cause.as_ref().filter(|_| is_reported).map(|cause| format!("{}: {cause}", self.tree))
    }

    /// Returns one line for people.
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
