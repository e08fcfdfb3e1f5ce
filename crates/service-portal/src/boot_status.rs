//! Progress of the boot in one line.

use journal::{Entry, Stage, StageRun, Timeline};

/// Returns "Ready" or the current stage, and the progress of the copy to the workspace, which continues after "Ready".
#[must_use]
pub fn status_line(entries: &[Entry]) -> String {
    let timeline = Timeline::from_entries(entries);
    let sync = timeline.running_sync();
    if journal::is_ready(entries) {
        return match sync {
            None => "Ready".to_owned(),
            Some(_) if timeline.stopped => "Ready; sync was stopped".to_owned(),
            Some(sync) => format!("Ready; {}", describe_stage(sync)),
        };
    }
    // The last stage of an abandoned boot has ended, although the container is not ready.
    if timeline.stage_run(Stage::Ready).is_some_and(|ready| ready.ended.is_some()) {
        return "Late boot was abandoned".to_owned();
    }
    if timeline.stopped {
        return "Late boot was stopped".to_owned();
    }
    let stages: Vec<String> = timeline.current_stage().into_iter().chain(sync).map(describe_stage).collect();
    format!("Still starting… {}", stages.join("; ")).trim_end().to_owned()
}

/// Returns the name of a stage with its latest progress note.
fn describe_stage(course: &StageRun) -> String {
    match &course.note {
        Some(note) => format!("{}: {note}", course.stage),
        None => course.stage.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::{Event, StageResult};

    fn line(events: &[Event]) -> String {
        let entries: Vec<Entry> =
            events.iter().map(|event| Entry { at: 0.0, event: event.clone() }).collect();
        status_line(&entries)
    }

    #[test]
    fn the_current_stage_is_shown_with_its_latest_note() {
        let started = Event::StageStarted { stage: Stage::Provisioning };
        assert_eq!(line(std::slice::from_ref(&started)), "Still starting… provisioning");
        let note = Event::StageNote { stage: Stage::Provisioning, message: "Collecting torch".into() };
        assert_eq!(line(&[started, note]), "Still starting… provisioning: Collecting torch");
    }

    fn ended(stage: Stage) -> Event {
        Event::StageEnded { stage, result: StageResult::Done, cause: None, hint: None }
    }

    #[test]
    fn the_progress_of_the_copy_is_shown_before_and_after_ready() {
        let started = Event::StageStarted { stage: Stage::Sync };
        let message = "micromamba: 42 %, 2.3 GB of 5.5 GB, 32 s left".to_owned();
        let progress = Event::StageNote { stage: Stage::Sync, message };
        assert_eq!(line(&[]), "Still starting…");
        let provisioning = Event::StageStarted { stage: Stage::Provisioning };
        let mut events = vec![Event::BootStarted { pid: 7 }, started, provisioning];
        assert_eq!(line(&events), "Still starting… provisioning; sync");
        events.push(progress);
        let copying = "sync: micromamba: 42 %, 2.3 GB of 5.5 GB, 32 s left";
        assert_eq!(line(&events), format!("Still starting… provisioning; {copying}"));
        events.extend([ended(Stage::Provisioning), Event::StageStarted { stage: Stage::Ready }]);
        events.push(ended(Stage::Ready));
        assert_eq!(line(&events), format!("Ready; {copying}"));
        let stopped = [&events[..], &[Event::BootStopped]].concat();
        assert_eq!(line(&stopped), "Ready; sync was stopped");
        events.push(ended(Stage::Sync));
        assert_eq!(line(&events), "Ready");
    }

    #[test]
    fn an_abandoned_or_stopped_boot_is_shown() {
        let cause = Some("killed 5 times".into());
        let end = Event::StageEnded { stage: Stage::Ready, result: StageResult::Failed, cause, hint: None };
        let given_up = [Event::BootStarted { pid: 7 }, Event::StageStarted { stage: Stage::Ready }, end];
        assert_eq!(line(&given_up), "Late boot was abandoned");
        assert_eq!(line(&[Event::BootStarted { pid: 7 }, Event::BootStopped]), "Late boot was stopped");
    }
}
