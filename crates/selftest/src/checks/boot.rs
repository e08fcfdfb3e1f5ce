//! The start: how far it got, its stages, and markers that scripts of extended images wait for.

use std::path::Path;

use anyhow::Result;
use journal::{Phase, Stage, Timeline};

use crate::context::Context;
use crate::finding::Finding;

/// Markers, and the stages whose ends remove them.
const MARKERS: [(&str, Stage); 2] =
    [("/run/workspace_sync", Stage::Sync), ("/run/container_config", Stage::Provisioning)];
const RESUME: &str = "supervisorctl start boot";

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let Some(timeline) = &context.timeline else {
        return Ok(vec![Finding::fail(
            "the container was not started by init: its command is another one",
            "init.sh --detach",
        )]);
    };
    let mut findings = progress(timeline, timeline.phase(context.boot_is_running), journal::unix_time());
    findings.extend(MARKERS.into_iter().filter_map(|(path, stage)| {
        let has_ended = timeline.stage_run(stage).is_some_and(|run| run.ended.is_some());
        (has_ended && Path::new(path).exists()).then(|| {
            Finding::fail(format!("{path} exists, although {stage} has ended: scripts wait for it"), RESUME)
        })
    }));
    Ok(findings)
}

/// Decides about the events of the start; `now` is in seconds since the Unix epoch.
fn progress(timeline: &Timeline, phase: Phase, now: f64) -> Vec<Finding> {
    let since = |start: Option<f64>| kit::duration::seconds((now - start.unwrap_or(now)).max(0.0));
    let first = match phase {
        Phase::Starting => Finding::warn("still starting: late boot has not begun", "boot wait ready"),
        Phase::Running => {
            let stage = timeline.current_stage();
            let name = stage.map_or_else(|| "late boot".to_owned(), |run| run.stage.to_string());
            let running = since(stage.map(|run| run.began));
            Finding::warn(format!("still starting: {name} has been running for {running}"), "boot wait ready")
        }
        Phase::Interrupted => Finding::fail("late boot was killed and is not running", RESUME),
        Phase::Stopped => Finding::fail("late boot was stopped before it was ready", RESUME),
        Phase::Abandoned => Finding::fail("late boot was killed too often and was abandoned", RESUME),
        Phase::Ready => {
            let ready = timeline.stage_run(Stage::Ready).and_then(|ready| ready.ended);
            let began = timeline.began.or_else(|| timeline.stages.first().map(|run| run.began));
            let after = ready.zip(began).map_or(0.0, |(ready, began)| ready - began);
            Finding::pass(format!("ready, {} after the start", kit::duration::seconds(after)))
        }
    };
    // Sync, provisioning and ready have findings of their own.
    let is_here = |stage| matches!(stage, Stage::Permissions | Stage::Preflight | Stage::Programs);
    let failures = timeline.failures().filter(|run| is_here(run.stage)).map(|run| {
        let cause = run.cause.as_deref().unwrap_or("no cause is known");
        let hint = run.hint.clone().unwrap_or_else(|| format!("logtail {}", run.stage.log()));
        Finding::fail(format!("{} failed: {cause}", run.stage), hint)
    });
    [first].into_iter().chain(failures).collect()
}

#[cfg(test)]
mod tests {
    use journal::{Entry, Event, StageResult};

    use super::*;

    fn timeline(events: Vec<Event>) -> Timeline {
        let entries: Vec<Entry> =
            (1..).zip(events).map(|(at, event)| Entry { at: f64::from(at), event }).collect();
        Timeline::from_entries(&entries)
    }

    #[test]
    fn each_phase_has_its_finding_and_failed_stages_are_added() {
        let begun = |stage| Event::StageStarted { stage };
        let ended = |stage, result, cause: Option<&str>| Event::StageEnded {
            stage,
            result,
            cause: cause.map(str::to_owned),
            hint: None,
        };
        let events = vec![
            Event::InitEnded { milliseconds: 500 },
            Event::BootStarted { pid: 7 },
            begun(Stage::Preflight),
            ended(Stage::Preflight, StageResult::Failed, Some("exit code 3")),
            begun(Stage::Provisioning),
        ];
        let running = timeline(events.clone());
        let failed = Finding::fail("preflight failed: exit code 3", "logtail preflight");
        let with_failure = |finding| vec![finding, failed.clone()];
        let ready = timeline(
            [
                events,
                vec![
                    ended(Stage::Provisioning, StageResult::Failed, Some("x")),
                    begun(Stage::Ready),
                    ended(Stage::Ready, StageResult::Done, None),
                ],
            ]
            .concat(),
        );
        for (timeline, phase, expected) in [
            (
                &Timeline::default(),
                Phase::Starting,
                vec![Finding::warn("still starting: late boot has not begun", "boot wait ready")],
            ),
            (
                &running,
                Phase::Running,
                with_failure(Finding::warn(
                    "still starting: provisioning has been running for 5 s",
                    "boot wait ready",
                )),
            ),
            (
                &running,
                Phase::Interrupted,
                with_failure(Finding::fail("late boot was killed and is not running", RESUME)),
            ),
            (
                &running,
                Phase::Stopped,
                with_failure(Finding::fail("late boot was stopped before it was ready", RESUME)),
            ),
            (&ready, Phase::Ready, with_failure(Finding::pass("ready, 7.5 s after the start"))),
        ] {
            assert_eq!(progress(timeline, phase, 10.0), expected, "{phase:?}");
        }
    }
}
