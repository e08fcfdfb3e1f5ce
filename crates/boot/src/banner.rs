//! The banner at login: the container is not ready, or something failed.

use std::fmt::Write;

use journal::{Phase, StageRun};
use kit::duration;
use kit::quote::escape_control;

use crate::boot_state::BootState;
use crate::report::{STOPPED_MESSAGE, one_line};

/// Maximum length of a cause; the report has all of it.
const MAX_LENGTH: usize = 300;

/// Maximum number of setting problems; the report has all of them.
const MAX_LISTED: usize = 3;

/// Returns the banner, empty if all is well; `now` is in seconds since the Unix epoch.
pub fn text(state: &BootState, now: f64) -> String {
    let mut text = match state.phase {
        // The failure is printed below.
        Phase::Ready | Phase::Abandoned => String::new(),
        Phase::Interrupted => "  Late boot was killed.\n".to_owned(),
        Phase::Stopped => format!("  {STOPPED_MESSAGE}\n"),
        Phase::Starting | Phase::Running => match state.timeline.current_stage() {
            None => "  The container is still starting.\n".to_owned(),
            Some(run) => format!("  The container is still starting: {}\n", describe_running(run, now)),
        },
    };
    if let Some(sync) = state.timeline.running_sync() {
        // Writing to a String cannot fail.
        let _ = match state.phase {
            _ if state.is_running => writeln!(text, "  In the background: {}", describe_running(sync, now)),
            Phase::Ready => {
                writeln!(
                    text,
                    "  Late boot exited before sync finished; to resume it, run: supervisorctl start boot"
                )
            }
            _ => Ok(()),
        };
    }
    for run in state.timeline.failures() {
        let cause = run.cause.as_deref().unwrap_or("no reason given");
        let _ = writeln!(text, "  {} failed: {}", run.stage, shortened(cause));
        if let Some(hint) = &run.hint {
            let _ = writeln!(text, "    {}", shortened(hint));
        }
    }
    let problems = &state.timeline.problems;
    for problem in problems.iter().take(MAX_LISTED) {
        let _ = writeln!(text, "  {}: {}", problem.setting, shortened(&problem.message));
    }
    if problems.len() > MAX_LISTED {
        let _ = writeln!(text, "  … and {} more", problems.len() - MAX_LISTED);
    }
    if text.is_empty() { text } else { escape_control(&format!("{text}  More: boot report\n\n")) }
}

/// Describes a stage: its duration so far and its last reported activity.
// Seconds since the start fit into any integer.
#[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
fn describe_running(run: &StageRun, now: f64) -> String {
    let since = duration::words((now - run.began).max(0.0) as u64);
    let mut text = format!("{} for {since}", run.stage);
    if let Some(note) = &run.note {
        text.extend([", ", &shortened(note)]);
    }
    text
}

fn shortened(text: &str) -> String {
    let line = one_line(text);
    match line.char_indices().nth(MAX_LENGTH) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::boot_state::tests::state;
    use journal::{Event, Stage, StageResult};

    fn started(stage: Stage) -> Event {
        Event::StageStarted { stage }
    }

    #[test]
    fn a_successful_start_prints_nothing() {
        let end =
            Event::StageEnded { stage: Stage::Ready, result: StageResult::Done, cause: None, hint: None };
        let seen = state(&[Event::BootStarted { pid: 7 }, started(Stage::Ready), end], false);
        assert_eq!(text(&seen, 9.0), "");
    }

    #[test]
    fn running_and_failed_stages_take_a_few_lines() {
        let problem = |setting: &str| Event::Problem { setting: setting.into(), message: "is wrong".into() };
        let events = [
            problem("A"),
            problem("B"),
            problem("C"),
            problem("D"),
            problem("E"),
            Event::BootStarted { pid: 7 },
            started(Stage::Sync),
            Event::StageEnded {
                stage: Stage::Sync,
                result: StageResult::Failed,
                cause: Some(format!("no\nroom {}", "x".repeat(400))),
                hint: Some("make some".into()),
            },
            started(Stage::Provisioning),
            Event::StageNote { stage: Stage::Provisioning, message: "\u{7}running".into() },
        ];
        let expected = format!(
            "  The container is still starting: provisioning for 2 min, \\u{{7}}running\n  sync failed: no room {}…\n    make some\n  \
             A: is wrong\n  B: is wrong\n  C: is wrong\n  … and 2 more\n  More: boot report\n\n",
            "x".repeat(292)
        );
        assert_eq!(text(&state(&events, true), 130.0), expected);
    }

    #[test]
    fn sync_is_shown_while_it_runs_in_the_background() {
        let end = |stage| Event::StageEnded { stage, result: StageResult::Done, cause: None, hint: None };
        let mut events = vec![Event::BootStarted { pid: 7 }, started(Stage::Sync), started(Stage::Ready)];
        let note = Event::StageNote { stage: Stage::Sync, message: "app: 7 %".into() };
        events.extend([end(Stage::Ready), note]);
        let seen = "  In the background: sync for 2 min, app: 7 %\n  More: boot report\n\n";
        assert_eq!(text(&state(&events, true), 122.0), seen);
        let dead = "  Late boot exited before sync finished; to resume it, run: supervisorctl start boot\n  More: \
                    boot report\n\n";
        assert_eq!(text(&state(&events, false), 122.0), dead);
        events.push(end(Stage::Sync));
        assert_eq!(text(&state(&events, true), 122.0), "");
    }

    #[test]
    fn a_killed_boot_is_not_still_starting() {
        let seen = state(&[Event::BootStarted { pid: 7 }, started(Stage::Sync)], false);
        assert_eq!(text(&seen, 9.0), "  Late boot was killed.\n  More: boot report\n\n");
        let seen = state(&[Event::BootStarted { pid: 7 }, Event::BootStopped], false);
        assert_eq!(text(&seen, 9.0), format!("  {STOPPED_MESSAGE}\n  More: boot report\n\n"));
        assert_eq!(
            text(&state(&[], false), 9.0),
            "  The container is still starting.\n  More: boot report\n\n"
        );
    }
}
