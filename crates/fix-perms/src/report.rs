//! Output of the tool: steps of a dry run, the summary, and warnings.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::change::ChangeKind;
use crate::summary::{ErrorCount, Summary};
use crate::walk::Step;
use kit::quote::quoted;

/// Result of a run; fields of its JSON form are only ever added.
#[derive(Debug, Serialize)]
pub struct Report {
    /// True if nothing was changed.
    dry_run: bool,
    /// Trees that were checked.
    trees: Vec<Row>,
    /// Trees that were not checked.
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Row {
    /// Part of the container: `container` or `workspace`.
    part: &'static str,
    /// Path of the tree.
    path: String,
    /// Number of entries.
    entries: u64,
    /// Number of entries that were changed, or would be.
    changed: u64,
    /// Number of changes by kind.
    changes: BTreeMap<&'static str, u64>,
    /// Number of mounts in the tree, which are not entered.
    mounts_not_entered: u64,
    /// Number of entries that belong to others and are left alone.
    left_alone: u64,
    /// Number of entries of `/opt` that only root can read, which are left alone with their content.
    private: u64,
    /// Path of the first of them.
    first_private: Option<String>,
    /// Changes that the file system refused.
    refused: Vec<ErrorRow>,
    /// Changes that failed.
    failed: Vec<ErrorRow>,
}

#[derive(Debug, Serialize)]
struct ErrorRow {
    /// Kind of change.
    what: &'static str,
    /// Number of entries.
    count: u64,
    /// Path; invalid UTF-8 is replaced, and shown by the warning on stderr.
    first: String,
    /// Error of the system.
    reason: String,
}

#[derive(Debug, Serialize)]
struct Skipped {
    /// Part of the container: `container` or `workspace`.
    part: &'static str,
    /// Reason for which it was skipped.
    reason: String,
}

#[derive(Serialize)]
struct StepLine<'a> {
    /// Path of the entry.
    path: std::borrow::Cow<'a, str>,
    /// Kind of change.
    change: &'static str,
    /// Owner, mode or access list that it gets.
    to: String,
}

impl Report {
    /// Creates an empty report.
    pub fn new(dry_run: bool) -> Self {
        Self { dry_run, trees: Vec::new(), skipped: Vec::new() }
    }

    /// Adds a tree that was checked.
    pub fn add(&mut self, part: &'static str, path: &std::path::Path, summary: &Summary) {
        let count = |kind: ChangeKind| (kind.name(), summary.changes.get(&kind).copied().unwrap_or(0));
        self.trees.push(Row {
            part,
            path: path.to_string_lossy().into_owned(),
            entries: summary.entries,
            changed: summary.changed(),
            changes: ChangeKind::ALL.into_iter().map(count).collect(),
            mounts_not_entered: summary.mounts,
            left_alone: summary.left_alone,
            private: summary.private.as_ref().map_or(0, |private| private.count),
            first_private: summary
                .private
                .as_ref()
                .map(|private| private.first.to_string_lossy().into_owned()),
            refused: summary.refused.iter().map(error_row).collect(),
            failed: summary.failed.iter().map(error_row).collect(),
        });
    }

    /// Adds a part that was skipped.
    pub fn skip(&mut self, part: &'static str, reason: String) {
        self.skipped.push(Skipped { part, reason });
    }

    /// Prints the report, as text or as one JSON object.
    pub fn print(&self, json: bool) -> io::Result<()> {
        let mut out = io::stdout().lock();
        if json {
            serde_json::to_writer(&mut out, self)?;
            return writeln!(out);
        }
        for row in &self.trees {
            write!(out, "{}: {} entries checked, ", row.path, row.entries)?;
            match (row.changed, self.dry_run) {
                (0, _) => write!(out, "nothing to change")?,
                (_, true) => write!(out, "{} changes needed", row.changed)?,
                (_, false) => write!(out, "{} changes made", row.changed)?,
            }
            let mut before = ": ";
            for (kind, count) in ChangeKind::ALL.map(|kind| (kind.name(), row.changes[kind.name()])) {
                if count > 0 {
                    write!(out, "{before}{kind} {count}")?;
                    before = ", ";
                }
            }
            if let Some(first) = &row.first_private {
                let first = quoted(std::path::Path::new(first));
                write!(out, "; {} skipped that only root can read, such as {first}", row.private)?;
            }
            writeln!(out)?;
        }
        self.skipped
            .iter()
            .try_for_each(|skipped| writeln!(out, "{}: skipped, {}", skipped.part, skipped.reason))
    }
}

fn error_row((what, error): (&&'static str, &ErrorCount)) -> ErrorRow {
    let ErrorCount { count, first, reason } = error;
    ErrorRow { what, count: *count, first: first.to_string_lossy().into_owned(), reason: reason.clone() }
}

/// Prints a step of a dry run, as one line.
pub fn print_step(step: &Step<'_>, json: bool) -> io::Result<()> {
    let mut line = if json {
        let path = step.path.to_string_lossy();
        let shown = StepLine { path, change: step.change.kind().name(), to: step.change.to_string() };
        serde_json::to_string(&shown)?
    } else {
        step.to_string()
    };
    line.push('\n');
    io::stdout().lock().write_all(line.as_bytes())
}

/// Reports on stderr the changes that could not be made, one line for each kind.
pub fn warn(summary: &Summary) {
    for (what, error) in &summary.refused {
        log::warn!("{}", line(what, "rejected by the file system", error));
    }
    for (what, error) in &summary.failed {
        log::error!("{}", line(what, "failed", error));
    }
    if summary.left_alone > 0 {
        log::warn!(
            "skipped {} files: they have hard links elsewhere, or are set-uid, set-gid or have capabilities",
            summary.left_alone
        );
    }
}

fn line(what: &str, verb: &str, error: &ErrorCount) -> String {
    let ErrorCount { count, first, reason } = error;
    format!("{what}: {verb} {count} times, first at {}: {reason}", quoted(first))
}
