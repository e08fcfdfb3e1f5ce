//! The sync stage: `workspace-sync run`.

use std::path::Path;
use std::process::ExitStatus;

use anyhow::{Context, Result};
use journal::StageResult;
use kit::cmd;
use workspace_sync::{Report, TreeOutcome};

use crate::shutdown;
use crate::stage_outcome::StageOutcome;
use crate::stage_process;
use crate::supervisorctl::supervisorctl;

/// Supervised program that copies late changes and retries failed copies.
const FOLLOWER: &str = "workspacesync";

/// Records the image's trees before anything of this boot changes them; quick, and a no-op at later starts.
pub fn snapshot(log: &Path) -> Result<StageOutcome> {
    let child = stage_process::spawn_logged(
        cmd::killed_with_parent(cmd::image_program("workspace-sync")).arg("snapshot"),
        log,
    )?;
    let output = child.wait_with_output().context("cannot wait for workspace-sync")?;
    Ok(if output.status.success() {
        StageOutcome::done()
    } else {
        let how = stage_process::describe_exit("workspace-sync", output.status);
        StageOutcome::failed(format!("cannot record the image's trees: {how}"), retry(log))
    })
}

/// Runs `workspace-sync run`; returns its outcome and whether anything was copied.
pub fn run(log: &Path) -> Result<(StageOutcome, bool)> {
    let child = stage_process::spawn_logged(
        cmd::killed_with_parent(cmd::image_program("workspace-sync")).args(["run", "--json"]),
        log,
    )?;
    let output = child.wait_with_output().context("cannot wait for workspace-sync")?;
    let reports = parse(&output.stdout);
    let copied = reports.iter().any(|report| report.outcome == TreeOutcome::Copied);
    let ending = ending(&reports, output.status, log);
    if is_to_be_followed(&reports, output.status)
        && !shutdown::is_requested()
        && let Err(error) = supervisorctl(&["start", FOLLOWER])
    {
        return Ok((unfollowed(&error, ending), copied));
    }
    Ok((ending, copied))
}

fn retry(log: &Path) -> String {
    format!("read {}, then run: supervisorctl restart boot", log.display())
}

fn parse(stdout: &[u8]) -> Vec<Report> {
    stdout.split(|&byte| byte == b'\n').filter_map(|line| serde_json::from_slice(line).ok()).collect()
}

/// True if late changes remain, a failed tree is retried, or the whole run is: if it was killed, for example for lack
/// of memory, or could not start because a disk was full.
fn is_to_be_followed(reports: &[Report], status: ExitStatus) -> bool {
    reports.iter().any(|report| report.settling || report.retrying)
        || status.code().is_none()
        || reports.is_empty() && !status.success()
}

/// The trees are switched, but the changes that programs still make to the old ones are not copied.
fn unfollowed(error: &anyhow::Error, ending: StageOutcome) -> StageOutcome {
    if ending.result == StageResult::Failed {
        return ending;
    }
    StageOutcome::failed(format!("{error:#}"), format!("run: supervisorctl start {FOLLOWER}"))
}

/// Returns the outcome of all trees for the journal.
fn ending(reports: &[Report], status: ExitStatus, log: &Path) -> StageOutcome {
    let failed: Vec<&Report> =
        reports.iter().filter(|report| report.outcome == TreeOutcome::Failed).collect();
    if !failed.is_empty() {
        let causes: Vec<String> = failed
            .iter()
            .map(|report| {
                format!("{}: {}", report.tree, report.cause.as_deref().unwrap_or("no reason given"))
            })
            .collect();
        let hint = failed.iter().find_map(|report| report.hint.clone());
        let mut hint = hint.unwrap_or_else(|| format!("read {}", log.display()));
        if failed.iter().any(|report| report.retrying) {
            hint.push_str("; retried automatically");
        }
        return StageOutcome::failed(causes.join("; "), hint);
    }
    if !status.success() {
        let hint = format!("read {}; retried automatically", log.display());
        return StageOutcome::failed(stage_process::describe_exit("workspace-sync", status), hint);
    }
    if reports.iter().all(|report| report.outcome == TreeOutcome::Skipped) {
        // A missing volume is not a failure, but is reported if a copy was requested.
        let cause = reports.iter().find_map(|report| report.cause.clone());
        return StageOutcome { cause, ..StageOutcome::skipped() };
    }
    match reports.iter().find_map(|report| Some((report.remark()?, report.hint.clone()))) {
        Some((cause, hint)) => StageOutcome { cause: Some(cause), hint, ..StageOutcome::done() },
        None => StageOutcome::done(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::process::ExitStatusExt;

    fn report(tree: &str, outcome: &str, more: &str) -> Report {
        serde_json::from_str(&format!(
            r#"{{"tree":"{tree}","outcome":"{outcome}","in_use":"image","copy":"/w/{tree}","outdated":false{more}}}"#
        ))
        .unwrap()
    }

    fn outcome_of(reports: &[Report], status: i32) -> StageOutcome {
        ending(reports, ExitStatus::from_raw(status), Path::new("/var/log/sync.log"))
    }

    #[test]
    fn one_failed_tree_is_a_failed_stage_with_its_cause_and_hint() {
        let reports = [
            report("micromamba", "copied", ""),
            report("app", "failed", r#","cause":"no room","hint":"make some""#),
        ];
        assert_eq!(outcome_of(&reports, 0x0100), StageOutcome::failed("app: no room", "make some"));
        assert!(!is_to_be_followed(&reports, ExitStatus::from_raw(0x0100)));
        let retried = [report("app", "failed", r#","retrying":true,"cause":"no room","hint":"make some""#)];
        let expected = StageOutcome::failed("app: no room", "make some; retried automatically");
        assert_eq!(outcome_of(&retried, 0x0100), expected);
        assert!(is_to_be_followed(&retried, ExitStatus::from_raw(0x0100)));
    }

    #[test]
    fn a_directory_that_stays_in_use_is_reported_and_fails_nothing() {
        let reports = [report("app", "kept", r#","cause":"it is in use","hint":"build a link""#)];
        let (cause, hint) = (Some("app: it is in use".into()), Some("build a link".into()));
        assert_eq!(outcome_of(&reports, 0), StageOutcome { cause, hint, ..StageOutcome::done() });
    }

    #[test]
    fn a_follower_that_does_not_start_is_reported_unless_something_worse_is() {
        let error = anyhow::anyhow!("cannot run supervisorctl");
        let expected =
            StageOutcome::failed("cannot run supervisorctl", "run: supervisorctl start workspacesync");
        assert_eq!(unfollowed(&error, StageOutcome::done()), expected);
        assert_eq!(
            unfollowed(&error, StageOutcome::failed("no room", "make some")),
            StageOutcome::failed("no room", "make some")
        );
    }

    #[test]
    fn a_tree_that_is_in_use_and_not_settled_is_done_with_its_cause_and_followed() {
        let reports = [report("app", "copied", r#","settling":true,"cause":"no room","hint":"make some""#)];
        let (cause, hint) = (Some("app: no room".into()), Some("make some".into()));
        let ended_well = ExitStatus::from_raw(0);
        assert!(is_to_be_followed(&reports, ended_well));
        assert!(!is_to_be_followed(&[report("app", "copied", "")], ended_well));
        assert_eq!(outcome_of(&reports, 0), StageOutcome { cause, hint, ..StageOutcome::done() });
    }

    #[test]
    fn a_tool_that_died_or_could_not_begin_is_a_failed_stage_and_retried_although_it_reported_nothing() {
        for (status, cause) in [(9, "was terminated by signal 9"), (0x0100, "failed with exit code 1")] {
            let cause = format!("workspace-sync {cause}");
            let ending = StageOutcome::failed(cause, "read /var/log/sync.log; retried automatically");
            assert_eq!(outcome_of(&[], status), ending);
            assert!(is_to_be_followed(&[], ExitStatus::from_raw(status)));
        }
        assert!(is_to_be_followed(&[report("app", "copied", "")], ExitStatus::from_raw(9)));
    }

    #[test]
    fn nothing_requested_is_skipped_and_a_missing_volume_is_reported() {
        assert_eq!(outcome_of(&[report("micromamba", "skipped", "")], 0), StageOutcome::skipped());
        let unmounted = report("micromamba", "skipped", r#","cause":"no volume""#);
        assert_eq!(
            outcome_of(&[unmounted], 0),
            StageOutcome { cause: Some("no volume".into()), ..StageOutcome::skipped() }
        );
        assert_eq!(outcome_of(&[report("micromamba", "used", "")], 0), StageOutcome::done());
    }
}
