//! The provisioning stage: `provision run`.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use kit::{Env, cmd};
use provision::Report;

use crate::child;
use crate::ending::Ending;

/// Runs the stage to its end, with the variables as the hooks have left them.
pub fn run(env: &Env, attempt: Option<&str>, journal: &Path, log: &Path) -> Result<Ending> {
    let mut command = Command::new(cmd::image_program("provision"));
    // A boot that was killed may have left its run behind, which then counts as ours.
    command.args(["run", "--wait", "--json", "--journal"]).arg(journal).envs(env.iter());
    command.args(attempt.iter().flat_map(|attempt| ["--attempt", attempt]));
    let output = child::start(&mut command, log)?.wait_with_output().context("cannot wait for provision")?;
    let report = serde_json::from_slice(&output.stdout).ok();
    Ok(ending(report, || provision::recorded(attempt), output.status, log))
}

/// What the journal is told.
fn ending(
    report: Option<Report>,
    recorded: impl FnOnce() -> Option<Report>,
    status: ExitStatus,
    log: &Path,
) -> Ending {
    let killed = || child::in_words("provision", status);
    let report = report.or_else(|| {
        let recorded = recorded()?;
        let cause = recorded.cause.unwrap_or_else(|| format!("{} after the script's good end", killed()));
        Some(Report { cause: Some(cause), ..recorded })
    });
    let Some(report) = report else {
        return Ending::failed(
            killed(),
            format!("read {}, then type: supervisorctl restart boot", log.display()),
        );
    };
    Ending {
        result: report.result(),
        cause: report.reason(),
        confided: report.said.as_ref().and_then(|_| report.whole_cause()),
        hint: report.hint,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::StageResult;
    use provision::ReportOutcome;
    use std::os::unix::process::ExitStatusExt;

    fn told(report: Option<Report>, status: i32) -> Ending {
        recorded(report, None, status)
    }

    fn recorded(report: Option<Report>, recorded: Option<Report>, status: i32) -> Ending {
        let log = Path::new("/var/log/provisioning.log");
        ending(report, || recorded, ExitStatus::from_raw(status), log)
    }

    #[test]
    fn a_tool_that_died_after_the_script_is_believed_by_what_it_noted() {
        let ran = Report::of(ReportOutcome::Ran);
        let cause = Some("provision was ended by signal 9 after the script's good end".to_owned());
        assert_eq!(recorded(None, Some(ran.clone()), 9), Ending { cause, ..Ending::done() });
        let failed = Report {
            cause: Some("exit code 3".into()),
            hint: Some("read".into()),
            ..Report::of(ReportOutcome::Failed)
        };
        assert_eq!(recorded(None, Some(failed), 9), Ending::failed("exit code 3", "read"));
        assert_eq!(recorded(Some(Report::of(ReportOutcome::None)), Some(ran), 0), Ending::skipped());
    }

    #[test]
    fn what_the_tool_reports_is_how_the_stage_ends() {
        assert_eq!(told(Some(Report::of(ReportOutcome::None)), 0), Ending::skipped());
        assert_eq!(told(Some(Report::of(ReportOutcome::Ran)), 0), Ending::done());
        let again = told(Some(Report::of(ReportOutcome::Unchanged)), 0);
        assert_eq!(again.result, StageResult::Skipped);
        assert!(again.cause.is_some(), "who changed the script wants to know why it did not run");
        let failed = Report {
            cause: Some("exit code 3".into()),
            hint: Some("read the log".into()),
            ..Report::of(ReportOutcome::Failed)
        };
        assert_eq!(told(Some(failed.clone()), 0x0100), Ending::failed("exit code 3", "read the log"));
        let confided = Some("exit code 3; it said last: no space".to_owned());
        assert_eq!(
            told(Some(Report { said: Some("no space".into()), ..failed }), 0x0100),
            Ending { confided, ..Ending::failed("exit code 3", "read the log") },
            "what a script prints is not for everybody"
        );
    }

    #[test]
    fn a_tool_that_died_is_a_failed_stage_although_it_reported_nothing() {
        assert_eq!(
            told(None, 9),
            Ending::failed(
                "provision was ended by signal 9",
                "read /var/log/provisioning.log, then type: supervisorctl restart boot"
            )
        );
    }
}
