//! Copies of environments on the workspace.

use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};
use journal::{Stage, StageResult};
use kit::cmd;
use serde::Deserialize;

use crate::context::Context;
use crate::finding::Finding;

/// Seconds for comparing copies with the image; a large tree on a network volume takes minutes.
const COMPARE_SECONDS: &str = "6";
/// Exit code of `timeout` when time is up.
const CUT_SHORT: i32 = 124;

/// Status of a tree, as `workspace-sync status --json` prints it.
#[derive(Debug, Default, Deserialize)]
struct Status {
    tree: String,
    in_use: String,
    state: String,
    problem: Option<String>,
    hint: Option<String>,
}

/// Result of comparing a tree, as `workspace-sync verify --json` prints it.
#[derive(Debug, Default, Deserialize)]
struct Verified {
    tree: String,
    missing: u64,
    damaged: u64,
}

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let tool = cmd::image_program("workspace-sync");
    let text = cmd::stdout(Command::new(&tool).args(["status", "--json"]))?;
    let trees: Vec<Status> = lines(&text)?;
    let mut findings: Vec<Finding> = trees.iter().map(status_finding).collect();
    if trees.iter().any(|tree| tree.in_use == "workspace" && tree.problem.is_none()) {
        let mut verify = Command::new("/usr/bin/timeout");
        verify.arg(COMPARE_SECONDS).arg(&tool).args(["verify", "--json"]).stdin(Stdio::null());
        let output = verify.output().context("cannot run timeout")?;
        // It prints what it has compared; a damaged copy is its exit code 1.
        let verified: Vec<Verified> = lines(&String::from_utf8_lossy(&output.stdout))?;
        findings.extend(verified.iter().filter_map(verified_finding));
        if output.status.code() == Some(CUT_SHORT) {
            findings.extend(not_compared(&trees, &verified));
        }
    }
    let failed = context.timeline.iter().filter_map(|timeline| timeline.stage_run(Stage::Sync));
    let failed = failed.filter(|run| run.result == Some(StageResult::Failed));
    if findings.iter().all(|finding| finding.remedy.is_none()) {
        findings.extend(failed.map(|run| {
            let cause = run.cause.as_deref().unwrap_or("no cause is known");
            let hint = run.hint.clone().unwrap_or_else(|| "logtail sync".to_owned());
            Finding::fail(format!("sync failed: {cause}"), hint)
        }));
    }
    Ok(findings)
}

fn lines<'a, T: Deserialize<'a>>(text: &'a str) -> Result<Vec<T>> {
    text.lines().map(|line| serde_json::from_str(line).context("workspace-sync printed no status")).collect()
}

fn status_finding(status: &Status) -> Finding {
    let Status { tree, in_use, state, problem, hint } = status;
    let hint = || hint.clone().unwrap_or_else(|| "workspace-sync status".to_owned());
    match (problem, in_use.as_str(), state.as_str()) {
        // It is used, and another copy would be better.
        (Some(problem), "workspace", "whole") => Finding::warn(format!("{tree}: {problem}"), hint()),
        (Some(problem), ..) => Finding::fail(format!("{tree}: {problem}"), hint()),
        (None, "workspace", "whole") => Finding::pass(format!("{tree} is used from the workspace")),
        (None, "workspace", _) => Finding::fail(
            format!("{tree}: the copy on the workspace is in use and not complete"),
            "sudo workspace-sync run",
        ),
        (None, _, "copying" | "waiting") => Finding::pass(format!("{tree} is being copied to the workspace")),
        (None, ..) => Finding::pass(format!("{tree} is used from the image")),
    }
}

fn verified_finding(verified: &Verified) -> Option<Finding> {
    let Verified { tree, missing, damaged } = verified;
    let repair = format!("sudo workspace-sync verify {tree} names them; copy them from /opt/.image/{tree}");
    match (missing, damaged) {
        (0, 0) => None,
        // Users remove packages.
        (missing, 0) => Some(Finding::warn(
            format!("{tree}: files of the image that are missing in the copy: {missing}"),
            format!("unless you removed them: {repair}"),
        )),
        _ => Some(Finding::fail(
            format!("{tree}: the copy is damaged (files missing: {missing}, damaged: {damaged})"),
            repair,
        )),
    }
}

/// Returns a remark about each copy whose comparison was cut short.
fn not_compared<'a>(trees: &'a [Status], verified: &'a [Verified]) -> impl Iterator<Item = Finding> + 'a {
    let is_used = |status: &&Status| status.in_use == "workspace" && status.state == "whole";
    let names = trees.iter().filter(is_used).map(|status| &status.tree);
    names.filter(|name| verified.iter().all(|verified| verified.tree != **name)).map(|tree| {
        Finding::pass(format!(
            "{tree} was not compared with the image within {COMPARE_SECONDS} seconds (sudo workspace-sync verify {tree})"
        ))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_copy_is_judged_by_its_use_and_its_state() {
        let status = |in_use: &str, state: &str, problem: Option<&str>| Status {
            tree: "app".into(),
            in_use: in_use.into(),
            state: state.into(),
            problem: problem.map(str::to_owned),
            hint: problem.map(|_| "h".to_owned()),
        };
        for (status, expected) in [
            (status("workspace", "whole", None), Finding::pass("app is used from the workspace")),
            (status("workspace", "whole", Some("older")), Finding::warn("app: older", "h")),
            (status("image", "foreign", Some("taken")), Finding::fail("app: taken", "h")),
            (
                status("workspace", "absent", None),
                Finding::fail(
                    "app: the copy on the workspace is in use and not complete",
                    "sudo workspace-sync run",
                ),
            ),
            (status("image", "copying", None), Finding::pass("app is being copied to the workspace")),
            (status("image", "absent", None), Finding::pass("app is used from the image")),
        ] {
            assert_eq!(status_finding(&status), expected);
        }
        let trees = ["a", "b"].map(|tree| Status { tree: tree.into(), ..status("workspace", "whole", None) });
        let compared = [Verified { tree: "a".into(), ..Verified::default() }];
        let remark = "b was not compared with the image within 6 seconds (sudo workspace-sync verify b)";
        assert_eq!(not_compared(&trees, &compared).collect::<Vec<_>>(), [Finding::pass(remark)]);
        let verified = |missing, damaged| Verified { tree: "app".into(), missing, damaged };
        let damaged = Finding::fail(
            "app: the copy is damaged (files missing: 1, damaged: 2)",
            "sudo workspace-sync verify app names them; copy them from /opt/.image/app",
        );
        let removed = Finding::warn(
            "app: files of the image that are missing in the copy: 1",
            "unless you removed them: sudo workspace-sync verify app names them; copy them from /opt/.image/app",
        );
        assert_eq!(
            [(0, 0), (1, 0), (1, 2)].map(|(missing, bad)| verified_finding(&verified(missing, bad))),
            [None, Some(removed), Some(damaged)]
        );
    }
}
