//! What the tool prints: steps of a dry run, the summary, and warnings.

use std::collections::BTreeMap;
use std::io::{self, Write};

use serde::Serialize;

use crate::change::ChangeKind;
use crate::tally::{Tally, Trouble};
use crate::walk::Step;
use kit::quote::quoted;

/// The answer; its JSON form only ever grows.
#[derive(Debug, Serialize)]
pub struct Report {
    dry_run: bool,
    trees: Vec<Row>,
    skipped: Vec<Skipped>,
}

#[derive(Debug, Serialize)]
struct Row {
    part: &'static str,
    path: String,
    entries: u64,
    changed: u64,
    changes: BTreeMap<&'static str, u64>,
    mounts_not_entered: u64,
    left_alone: u64,
    refused: Vec<Complaint>,
    failed: Vec<Complaint>,
}

#[derive(Debug, Serialize)]
struct Complaint {
    what: &'static str,
    count: u64,
    /// Bytes that are not UTF-8 are replaced; the warning on stderr shows them.
    first: String,
    reason: String,
}

#[derive(Debug, Serialize)]
struct Skipped {
    part: &'static str,
    reason: String,
}

#[derive(Serialize)]
struct StepLine<'a> {
    path: std::borrow::Cow<'a, str>,
    change: &'static str,
    to: String,
}

impl Report {
    /// An empty report.
    pub fn new(dry_run: bool) -> Self {
        Self { dry_run, trees: Vec::new(), skipped: Vec::new() }
    }

    /// A tree was dealt with.
    pub fn add(&mut self, part: &'static str, path: &std::path::Path, tally: &Tally) {
        let count = |kind: ChangeKind| (kind.name(), tally.changes.get(&kind).copied().unwrap_or(0));
        self.trees.push(Row {
            part,
            path: path.to_string_lossy().into_owned(),
            entries: tally.entries,
            changed: tally.changed(),
            changes: ChangeKind::ALL.into_iter().map(count).collect(),
            mounts_not_entered: tally.mounts,
            left_alone: tally.left,
            refused: tally.refused.iter().map(complaint).collect(),
            failed: tally.failed.iter().map(complaint).collect(),
        });
    }

    /// A tree was not there to be dealt with.
    pub fn skip(&mut self, part: &'static str, reason: String) {
        self.skipped.push(Skipped { part, reason });
    }

    /// Prints it, as text or as one JSON object.
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
            writeln!(out)?;
        }
        self.skipped
            .iter()
            .try_for_each(|skipped| writeln!(out, "{}: skipped, {}", skipped.part, skipped.reason))
    }
}

fn complaint((what, trouble): (&&'static str, &Trouble)) -> Complaint {
    let Trouble { count, first, reason } = trouble;
    Complaint { what, count: *count, first: first.to_string_lossy().into_owned(), reason: reason.clone() }
}

/// Prints a step of a dry run on a line of its own.
pub fn print_step(step: &Step<'_>, json: bool) -> io::Result<()> {
    let mut line = if json {
        let path = step.path.to_string_lossy();
        let shown = StepLine { path, change: step.change.kind().name(), to: step.change.to_string() };
        serde_json::to_string(&shown)?
    } else {
        format!("{}: {}", quoted(step.path), step.change)
    };
    line.push('\n');
    io::stdout().lock().write_all(line.as_bytes())
}

/// Says on stderr what could not be done, one line for each kind.
pub fn warn(tally: &Tally) {
    for (what, trouble) in &tally.refused {
        log::warn!("{}", line(what, "rejected by the file system", trouble));
    }
    for (what, trouble) in &tally.failed {
        log::error!("{}", line(what, "failed", trouble));
    }
    if tally.left > 0 {
        log::warn!(
            "skipped {} files: they have hard links elsewhere, or are set-uid, set-gid or have capabilities",
            tally.left
        );
    }
}

fn line(what: &str, verb: &str, trouble: &Trouble) -> String {
    let Trouble { count, first, reason } = trouble;
    format!("{what}: {verb} {count} times, first at {}: {reason}", quoted(first))
}
