//! The provisioning stage: `provision run`.

use std::path::Path;
use std::process::{Command, ExitStatus};

use anyhow::{Context, Result};
use kit::Env;
use provision::{Report, ReportOutcome};

use crate::child;
use crate::ending::Ending;

/// Runs the stage to its end, with the variables as the hooks have left them.
pub fn run(env: &Env, journal: &Path, log: &Path) -> Result<Ending> {
    let mut command = Command::new("provision");
    // A boot that was killed may have left its run behind.
    command.args(["run", "--wait", "--json", "--journal"]).arg(journal).envs(env.iter());
    let output = child::start(&mut command, log)?.wait_with_output().context("cannot wait for provision")?;
    Ok(ending(serde_json::from_slice(&output.stdout).ok(), output.status, log))
}

/// What the journal is told.
fn ending(report: Option<Report>, status: ExitStatus, log: &Path) -> Ending {
    let Some(report) = report else {
        return Ending::failed(
            child::in_words("provision", status),
            format!("read {}, then type: supervisorctl start boot", log.display()),
        );
    };
    let confided = report.said.as_ref().and_then(|_| report.whole_cause());
    match report.outcome {
        ReportOutcome::Ran => Ending { cause: report.cause, hint: report.hint, ..Ending::done() },
        ReportOutcome::Unchanged | ReportOutcome::Locked => {
            Ending { cause: Some(report.line()), hint: report.hint, ..Ending::skipped() }
        }
        ReportOutcome::None => Ending::skipped(),
        ReportOutcome::Failed => Ending {
            confided,
            ..Ending::failed(
                report.cause.unwrap_or_else(|| "no reason was given".to_owned()),
                report.hint.unwrap_or_else(|| format!("read {}", log.display())),
            )
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::StageResult;
    use std::os::unix::process::ExitStatusExt;

    fn told(report: Option<Report>, status: i32) -> Ending {
        ending(report, ExitStatus::from_raw(status), Path::new("/var/log/provisioning.log"))
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
                "read /var/log/provisioning.log, then type: supervisorctl start boot"
            )
        );
    }
}
