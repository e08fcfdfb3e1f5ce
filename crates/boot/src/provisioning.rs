//! The provisioning stage: `provision run`.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use kit::{Env, cmd};
use provision::Report;

use crate::stage_outcome::StageOutcome;
use crate::stage_process;

/// Runs the stage with the variables that the hooks left.
pub fn run(env: &Env, attempt: Option<&str>, journal: &Path, log: &Path) -> Result<StageOutcome> {
    let mut command = Command::new(cmd::image_program("provision"));
    // A killed boot may have left its run behind; its result counts for this one.
    command.args(["run", "--wait", "--json", "--journal"]).arg(journal).envs(env.iter());
    command.args(attempt.iter().flat_map(|attempt| ["--attempt", attempt]));
    let output = stage_process::spawn_logged(&mut command, log)?
        .wait_with_output()
        .context("cannot wait for provision")?;
    let report = serde_json::from_slice(&output.stdout).ok();
    Ok(ending(report, || provision::last_report(attempt), output.status, log))
}

/// Returns the outcome for the journal.
fn ending(
    report: Option<Report>,
    recorded: impl FnOnce() -> Option<Report>,
    status: ExitStatus,
    log: &Path,
) -> StageOutcome {
    let killed = || stage_process::describe_exit("provision", status);
    let report = report.or_else(|| {
        let recorded = recorded()?;
        let cause =
            recorded.cause.unwrap_or_else(|| format!("{} after the script exited successfully", killed()));
        Some(Report { cause: Some(cause), ..recorded })
    });
    let Some(report) = report else {
        return StageOutcome::failed(
            killed(),
            format!("read {}, then run: supervisorctl restart boot", log.display()),
        );
    };
    StageOutcome {
        result: report.result(),
        cause: report.reason(),
        restricted_cause: report.last_line.as_ref().and_then(|_| report.full_cause()),
        hint: report.hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::StageResult;
    use provision::ReportOutcome;
    use std::os::unix::process::ExitStatusExt;

    fn outcome_of(report: Option<Report>, status: i32) -> StageOutcome {
        recorded(report, None, status)
    }

    fn recorded(report: Option<Report>, recorded: Option<Report>, status: i32) -> StageOutcome {
        let log = Path::new("/var/log/provisioning.log");
        ending(report, || recorded, ExitStatus::from_raw(status), log)
    }

    #[test]
    fn a_tool_that_died_after_the_script_is_believed_by_what_it_noted() {
        let ran = Report::new(ReportOutcome::Ran);
        let cause =
            Some("provision was terminated by signal 9 after the script exited successfully".to_owned());
        assert_eq!(recorded(None, Some(ran.clone()), 9), StageOutcome { cause, ..StageOutcome::done() });
        let failed = Report {
            cause: Some("exit code 3".into()),
            hint: Some("read".into()),
            ..Report::new(ReportOutcome::Failed)
        };
        assert_eq!(recorded(None, Some(failed), 9), StageOutcome::failed("exit code 3", "read"));
        assert_eq!(recorded(Some(Report::new(ReportOutcome::None)), Some(ran), 0), StageOutcome::skipped());
    }

    #[test]
    fn what_the_tool_reports_is_how_the_stage_ends() {
        assert_eq!(outcome_of(Some(Report::new(ReportOutcome::None)), 0), StageOutcome::skipped());
        assert_eq!(outcome_of(Some(Report::new(ReportOutcome::Ran)), 0), StageOutcome::done());
        let again = outcome_of(Some(Report::new(ReportOutcome::Unchanged)), 0);
        assert_eq!(again.result, StageResult::Skipped);
        assert!(again.cause.is_some(), "who changed the script wants to know why it did not run");
        let failed = Report {
            cause: Some("exit code 3".into()),
            hint: Some("read the log".into()),
            ..Report::new(ReportOutcome::Failed)
        };
        assert_eq!(
            outcome_of(Some(failed.clone()), 0x0100),
            StageOutcome::failed("exit code 3", "read the log")
        );
        let restricted_cause = Some("exit code 3; last output: no space".to_owned());
        assert_eq!(
            outcome_of(Some(Report { last_line: Some("no space".into()), ..failed }), 0x0100),
            StageOutcome { restricted_cause, ..StageOutcome::failed("exit code 3", "read the log") },
            "what a script prints is not for everybody"
        );
    }

    #[test]
    fn a_tool_that_died_is_a_failed_stage_although_it_reported_nothing() {
        assert_eq!(
            outcome_of(None, 9),
            StageOutcome::failed(
                "provision was terminated by signal 9",
                "read /var/log/provisioning.log, then run: supervisorctl restart boot"
            )
        );
    }
}
