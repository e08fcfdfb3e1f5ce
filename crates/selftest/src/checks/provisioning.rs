//! The user's script.

use anyhow::Result;
use journal::{Stage, StageResult, StageRun};

use crate::context::Context;
use crate::finding::Finding;

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let run = context.timeline.as_ref().and_then(|timeline| timeline.stage_run(Stage::Provisioning));
    Ok(vec![run.map_or_else(|| Finding::skip("it has not begun"), finding)])
}

fn finding(run: &StageRun) -> Finding {
    let cause = run.cause.as_deref();
    match run.result {
        None => Finding::pass("the script is running, or is being fetched"),
        Some(StageResult::Done) => Finding::pass("the script exited successfully"),
        Some(StageResult::Skipped) => Finding::pass(cause.unwrap_or("no script is configured")),
        Some(StageResult::Failed) => Finding::fail(
            cause.unwrap_or("the script failed"),
            "logtail provisioning; to run it again: supervisorctl start boot",
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_result_has_its_finding() {
        let run = |result, cause: Option<&str>| StageRun {
            stage: Stage::Provisioning,
            began: 0.0,
            ended: None,
            result,
            cause: cause.map(str::to_owned),
            hint: None,
            note: None,
        };
        let failed = Finding::fail(
            "the script failed with exit code 3",
            "logtail provisioning; to run it again: supervisorctl start boot",
        );
        for (result, cause, expected) in [
            (None, None, Finding::pass("the script is running, or is being fetched")),
            (Some(StageResult::Done), None, Finding::pass("the script exited successfully")),
            (Some(StageResult::Skipped), None, Finding::pass("no script is configured")),
            (Some(StageResult::Skipped), Some("locked"), Finding::pass("locked")),
            (Some(StageResult::Failed), Some("the script failed with exit code 3"), failed),
        ] {
            assert_eq!(finding(&run(result, cause)), expected);
        }
    }
}
