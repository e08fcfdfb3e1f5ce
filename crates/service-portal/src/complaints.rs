//! What a person should know about the boot, beside how far it is.

use journal::{Entry, Event, StageResult};

/// What is wrong with settings and trees, and what failed in the latest run of late boot: an earlier failure is history.
#[must_use]
pub fn of(entries: &[Entry]) -> Vec<String> {
    let latest = entries.iter().rposition(|entry| matches!(entry.event, Event::BootStarted { .. }));
    let (before, run) = entries.split_at(latest.unwrap_or(0));
    let lasting = before.iter().filter(|entry| !matches!(entry.event, Event::StageEnded { .. }));
    let mut complaints: Vec<String> = Vec::new();
    for complaint in lasting.chain(run).filter_map(|entry| complaint(&entry.event)) {
        // A tree that is as before is told with every run.
        if !complaints.contains(&complaint) {
            complaints.push(complaint);
        }
    }
    complaints
}

fn complaint(event: &Event) -> Option<String> {
    match event {
        Event::Problem { setting, message } => Some(format!("{setting}: {message}")),
        Event::StageEnded { stage, result: StageResult::Failed, cause, .. } => {
            Some(format!("{stage} failed: {}", cause.as_deref().unwrap_or("no reason was given")))
        }
        Event::SyncNote { tree, message } => Some(format!("{tree}: {message}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::Stage;

    #[test]
    fn a_failure_that_was_corrected_is_history_and_a_wrong_setting_is_not() {
        let failed = Event::StageEnded {
            stage: Stage::Preflight,
            result: StageResult::Failed,
            cause: Some("line 3".into()),
            hint: None,
        };
        let events = [
            Event::Problem { setting: "WEB_X".into(), message: "is a typo".into() },
            Event::BootStarted { pid: 7 },
            Event::SyncNote { tree: "app".into(), message: "is old".into() },
            failed,
            Event::BootStarted { pid: 8 },
            Event::SyncNote { tree: "app".into(), message: "is old".into() },
            Event::StageStarted { stage: Stage::Preflight },
        ];
        let entries = events.map(|event| Entry { at: 0.0, event });
        assert_eq!(of(&entries[..4]), ["WEB_X: is a typo", "app: is old", "preflight failed: line 3"]);
        assert_eq!(of(&entries), ["WEB_X: is a typo", "app: is old"]);
    }
}
