//! How far the boot is, in one line.

use journal::{Entry, Event, Stage, Timeline};
use kit::{settings, units};

/// "Ready", or what is going on.
#[must_use]
pub fn of(entries: &[Entry]) -> String {
    if journal::is_ready(entries) {
        return "Ready".to_owned();
    }
    let timeline = Timeline::of(entries);
    if timeline.is_finished() {
        return "Late boot was given up".to_owned();
    }
    if timeline.stopped {
        return "Late boot was stopped".to_owned();
    }
    match copying(entries).or_else(|| at_work(entries)) {
        Some(what) => format!("Still starting… {what}"),
        None => "Still starting…".to_owned(),
    }
}

/// The stage that everything waits for, and what it was doing when it last said so.
fn at_work(entries: &[Entry]) -> Option<String> {
    let timeline = Timeline::of(entries);
    let course = timeline.current()?;
    Some(match &course.note {
        Some(note) => format!("{}: {note}", course.stage),
        None => course.stage.to_string(),
    })
}

/// The copy of a tree that is being made at this moment, from the last that was said about it.
fn copying(entries: &[Entry]) -> Option<String> {
    let last = entries.iter().rev().find(|entry| {
        matches!(
            entry.event,
            Event::SyncProgress { .. }
                | Event::SyncNote { .. }
                | Event::StageEnded { stage: Stage::Sync, .. }
        )
    })?;
    let Event::SyncProgress { tree, bytes, bytes_total, seconds_left, .. } = &last.event else { return None };
    let mut text =
        format!("{tree}: {} of {} are on the workspace", units::bytes(*bytes), units::bytes(*bytes_total));
    if let Some(seconds) = seconds_left {
        text.extend([", ", &settings::words(*seconds), " left"]);
    }
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::StageResult;

    fn line(events: &[Event]) -> String {
        let entries: Vec<Entry> =
            events.iter().map(|event| Entry { at: 0.0, event: event.clone() }).collect();
        of(&entries)
    }

    #[test]
    fn a_waiting_person_sees_the_stage_and_its_last_word() {
        let started = Event::StageStarted { stage: Stage::Provisioning };
        assert_eq!(line(std::slice::from_ref(&started)), "Still starting… provisioning");
        let note = Event::StageNote { stage: Stage::Provisioning, message: "Collecting torch".into() };
        assert_eq!(line(&[started, note]), "Still starting… provisioning: Collecting torch");
    }

    fn ended(stage: Stage) -> Event {
        Event::StageEnded { stage, result: StageResult::Done, cause: None, hint: None }
    }

    #[test]
    fn a_waiting_person_sees_how_far_the_copy_is() {
        let started = Event::StageStarted { stage: Stage::Sync };
        let progress = Event::SyncProgress {
            tree: "micromamba".into(),
            entries: 1,
            entries_total: 2,
            bytes: 2_300_000_000,
            bytes_total: 5_450_000_000,
            bytes_per_second: 100_000_000,
            seconds_left: Some(32),
        };
        assert_eq!(line(&[]), "Still starting…");
        let copying = [started, progress, ended(Stage::Sync), ended(Stage::Ready)];
        assert_eq!(
            line(&copying[..2]),
            "Still starting… micromamba: 2.3 GB of 5.5 GB are on the workspace, 32 s left"
        );
        assert_eq!(line(&copying[..3]), "Still starting…");
        assert_eq!(line(&copying), "Ready");
    }

    #[test]
    fn a_person_does_not_wait_for_a_boot_that_was_given_up() {
        let cause = Some("killed 5 times".into());
        let end = Event::StageEnded { stage: Stage::Ready, result: StageResult::Failed, cause, hint: None };
        let given_up = [Event::BootStarted { pid: 7 }, Event::StageStarted { stage: Stage::Ready }, end];
        assert_eq!(line(&given_up), "Late boot was given up");
        assert_eq!(line(&[Event::BootStarted { pid: 7 }, Event::BootStopped]), "Late boot was stopped");
    }
}
