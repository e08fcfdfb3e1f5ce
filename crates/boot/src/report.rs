//! The report: a time bar for each stage, then the failures and their fixes.

use std::fmt::Write;

use anyhow::Result;
use journal::{Phase, Stage, StageResult, StageRun};
use kit::duration::seconds;
use kit::quote::escape_control;

use crate::boot_state::BootState;

/// Message about a boot that was asked to stop.
pub const STOPPED_MESSAGE: &str = "Late boot was stopped; to resume it, run: supervisorctl start boot";

/// Width of the scale in characters.
const WIDTH: usize = 40;

/// Returns the report as one JSON object and a newline.
pub fn json(state: &BootState) -> Result<String> {
    Ok(serde_json::to_string(state)? + "\n")
}

/// Returns the report as text; `now` is in seconds since the Unix epoch.
pub fn text(state: &BootState, now: f64) -> String {
    let mut text = headline(state, now);
    text.push('\n');
    if let Some(milliseconds) = state.timeline.init_milliseconds {
        let length = std::time::Duration::from_millis(milliseconds).as_secs_f64();
        let scale = Scale::of(state, now);
        text.push_str(&row("init", length, "done", &scale.bar(scale.began, scale.began + length)));
    }
    for run in &state.timeline.stages {
        text.push_str(&stage(run, state, now));
    }
    text.push_str(&problems_text(state));
    escape_control(&text)
}

fn headline(state: &BootState, now: f64) -> String {
    let scale = Scale::of(state, now);
    match state.phase {
        Phase::Starting => "The services are starting; late boot has not started yet.\n".to_owned(),
        Phase::Running => format!("Late boot has been running for {}.\n", seconds(scale.length)),
        Phase::Interrupted => {
            "Late boot was killed. supervisord restarts it; if it does not, run: supervisorctl start boot\n"
                .to_owned()
        }
        Phase::Stopped => format!("{STOPPED_MESSAGE}\n"),
        Phase::Abandoned => "Late boot was abandoned; the container is not ready.\n".to_owned(),
        Phase::Ready => {
            let ready = state.timeline.stage_run(Stage::Ready).and_then(|ready| ready.ended);
            let after = seconds(ready.map_or(scale.length, |ready| ready - scale.began));
            let rest = if state.timeline.running_sync().is_some() { " Sync is still running." } else { "" };
            format!("Ready, {after} after the start.{rest}\n")
        }
    }
}

fn stage(run: &StageRun, state: &BootState, now: f64) -> String {
    let scale = Scale::of(state, now);
    let ended = run.ended.unwrap_or(now);
    let status = match run.result {
        Some(StageResult::Done) => "done",
        Some(StageResult::Skipped) => "nothing to do",
        Some(StageResult::Failed) => "FAILED",
        None if state.is_running => "running",
        None if state.timeline.stopped => "stopped",
        None => "killed",
    };
    if run.result.is_none() && !state.is_running {
        // The end is unknown; a bar up to now would be wrong.
        return format!("{:<13} {:>10}  {status}\n", run.stage.to_string(), "");
    }
    let bar = if run.stage == Stage::Ready { String::new() } else { scale.bar(run.began, ended) };
    let mut text = row(&run.stage.to_string(), ended - run.began, status, &bar);
    if let (None, Some(note)) = (run.result, &run.note) {
        // Writing to a String cannot fail.
        let _ = writeln!(text, "{:<13} {:>10}  {}", "", "", one_line(note));
    }
    text
}

fn row(name: &str, length: f64, status: &str, bar: &str) -> String {
    format!("{name:<13} {:>10}  {status:<14}{bar}", seconds(length)).trim_end().to_owned() + "\n"
}

fn problems_text(state: &BootState) -> String {
    let mut text = String::new();
    if state.timeline.interrupted > 0 {
        let _ = writeln!(text, "\nKilled and restarted {} times.", state.timeline.interrupted);
    }
    for run in &state.timeline.stages {
        let Some(cause) = &run.cause else { continue };
        let failed = run.result == Some(StageResult::Failed);
        let _ = writeln!(text, "\n{}{}: {cause}", run.stage, if failed { " failed" } else { "" });
        if let Some(hint) = &run.hint {
            let _ = writeln!(text, "  fix: {hint}");
        }
    }
    for problem in &state.timeline.problems {
        let _ = writeln!(text, "\n{}: {}", problem.setting, problem.message);
    }
    text
}

/// Time scale from the start of `init` to the last known event.
struct Scale {
    began: f64,
    length: f64,
}

impl Scale {
    fn of(state: &BootState, now: f64) -> Self {
        let stages = &state.timeline.stages;
        let earliest = stages.first().map_or(now, |run| run.began);
        let began = state.timeline.began.unwrap_or(earliest);
        let last = stages.iter().filter_map(|run| run.ended).fold(earliest, f64::max);
        let is_open = state.is_running && stages.iter().any(|run| run.ended.is_none());
        let end = if is_open || matches!(state.phase, Phase::Running | Phase::Starting) { now } else { last };
        Self { began, length: (end - began).max(0.001) }
    }

    /// Returns a bar between two times, at least one character long.
    fn bar(&self, from: f64, to: f64) -> String {
        let first = self.column(from).min(WIDTH - 1);
        let last = self.column(to).clamp(first + 1, WIDTH);
        format!("|{}{}{}|", " ".repeat(first), "#".repeat(last - first), " ".repeat(WIDTH - last))
    }

    // A share of the width is between 0 and WIDTH.
    #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss)]
    fn column(&self, at: f64) -> usize {
        (((at - self.began) / self.length).clamp(0.0, 1.0) * WIDTH as f64).round() as usize
    }
}

/// Joins a text to one line; notes are the last line of a program's output.
pub fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_state::tests::state;
    use journal::Event;

    fn started(stage: Stage) -> Event {
        Event::StageStarted { stage }
    }

    fn ended(stage: Stage, result: StageResult) -> Event {
        Event::StageEnded { stage, result, cause: None, hint: None }
    }

    fn failed() -> Event {
        Event::StageEnded {
            stage: Stage::Provisioning,
            result: StageResult::Failed,
            cause: Some("exit code 3 \u{1b}[2J".into()),
            hint: Some("read the log".into()),
        }
    }

    #[test]
    fn a_finished_boot_is_a_waterfall_with_causes_below() {
        let events = [
            Event::InitEnded { milliseconds: 1000 },
            Event::Problem { setting: "WEB_X".into(), message: "is a typo".into() },
            Event::BootStarted { pid: 7 },
            started(Stage::Sync),
            ended(Stage::Sync, StageResult::Skipped),
            started(Stage::Provisioning),
            Event::StageNote { stage: Stage::Provisioning, message: "installing".into() },
            failed(),
            started(Stage::Ready),
            ended(Stage::Ready, StageResult::Done),
        ];
        let expected = "\
Ready, 10 s after the start.

init                 1 s  done          |####                                    |
sync                 1 s  nothing to do |                ####                    |
provisioning         2 s  FAILED        |                        ########        |
ready                1 s  done

provisioning failed: exit code 3 \\u{1b}[2J
  fix: read the log

WEB_X: is a typo
";
        assert_eq!(text(&state(&events, false), 99.0), expected);
    }

    #[test]
    fn a_running_stage_shows_its_activity_and_a_killed_one_does_not() {
        let events = [
            Event::InitEnded { milliseconds: 0 },
            Event::BootStarted { pid: 7 },
            started(Stage::Provisioning),
            Event::StageNote { stage: Stage::Provisioning, message: "a\n b".into() },
        ];
        let running = text(&state(&events, true), 123.0);
        assert!(running.starts_with("Late boot has been running for 2 min 2 s.\n"), "{running}");
        assert!(running.contains("provisioning       2 min  running       | ##"), "{running}");
        assert!(running.ends_with("                          a b\n"), "{running}");
        let killed = text(&state(&events, false), 123.0);
        assert!(killed.starts_with("Late boot was killed."), "{killed}");
        assert!(killed.ends_with("provisioning              killed\n"), "{killed}");
        let stopped = text(&state(&[&events[..], &[Event::BootStopped]].concat(), false), 123.0);
        assert!(
            stopped.starts_with(STOPPED_MESSAGE) && stopped.ends_with("provisioning              stopped\n"),
            "{stopped}"
        );
    }

    #[test]
    fn sync_goes_on_after_ready() {
        let progress = Event::SyncProgress {
            tree: "app".into(),
            entries: 1,
            entries_total: 2,
            bytes: 500_000,
            bytes_total: 1_000_000,
            bytes_per_second: 1_000,
            seconds_left: Some(500),
        };
        let events = [
            Event::InitEnded { milliseconds: 0 },
            Event::BootStarted { pid: 7 },
            started(Stage::Sync),
            started(Stage::Ready),
            ended(Stage::Ready, StageResult::Done),
            progress,
        ];
        let running = text(&state(&events, true), 43.0);
        assert!(running.starts_with("Ready, 4 s after the start. Sync is still running.\n"), "{running}");
        assert!(running.contains("sync                40 s  running       |  ###"), "{running}");
        assert!(
            running.contains("\n                          app: 50 %, 500.0 kB of 1.0 MB, 8 min left\n"),
            "{running}"
        );
        let killed = text(&state(&events, false), 43.0);
        assert!(killed.contains("\nsync                      killed\n"), "{killed}");
        let stopped = text(&state(&[&events[..], &[Event::BootStopped]].concat(), false), 43.0);
        assert!(stopped.contains("\nsync                      stopped\n"), "{stopped}");
        let end = [&events[..], &[ended(Stage::Sync, StageResult::Done)]].concat();
        assert!(text(&state(&end, false), 43.0).starts_with("Ready, 4 s after the start.\n"));
    }

    #[test]
    fn a_short_stage_is_still_seen() {
        let scale = Scale { began: 0.0, length: 1000.0 };
        assert_eq!(scale.bar(0.0, 0.1), format!("|#{}|", " ".repeat(39)));
        assert_eq!(scale.bar(1000.0, 1000.0), format!("|{}#|", " ".repeat(39)));
    }
}
