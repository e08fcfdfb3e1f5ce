//! What a person should know about the boot, beside how far it is.

use journal::{Entry, Event, StageResult};

/// What is wrong with settings and trees, and what failed in the latest run of late boot: an earlier failure is history,
/// and so is what a later event about the same stage or tree replaces.
#[must_use]
pub fn list(entries: &[Entry]) -> Vec<String> {
    let latest = entries.iter().rposition(|entry| matches!(entry.event, Event::BootStarted { .. }));
    let (before, run) = entries.split_at(latest.unwrap_or(0));
    let lasting = before.iter().filter(|entry| !matches!(entry.event, Event::StageEnded { .. }));
    let mut complaints: Vec<(Option<String>, String)> = Vec::new();
    for entry in lasting.chain(run) {
        let subject = subject(&entry.event);
        if subject.is_some() {
            complaints.retain(|(known, _)| *known != subject);
        }
        let complaint = complaint(&entry.event).map(|complaint| (subject, complaint));
        // A tree that is as before is told with every run.
        complaints.extend(complaint.filter(|complaint| !complaints.contains(complaint)));
    }
    let texts: Vec<String> = complaints.into_iter().map(|(_, complaint)| complaint).collect();
    // A stage that failed names the trees that did; one setting's name may be the end of another's.
    let is_repeated = |text: &String| {
        texts.iter().any(|other| [": ", "; "].iter().any(|before| other.contains(&format!("{before}{text}"))))
    };
    texts.iter().filter(|text| !is_repeated(text)).cloned().collect()
}

/// Names what the event replaces earlier ones about.
fn subject(event: &Event) -> Option<String> {
    match event {
        Event::StageEnded { stage, .. } => Some(stage.to_string()),
        Event::SyncNote { tree, pending: true, .. } | Event::SyncSwitched { tree } => {
            Some(format!("/opt/{tree}"))
        }
        _ => None,
    }
}

fn complaint(event: &Event) -> Option<String> {
    match event {
        Event::Problem { setting, message } => Some(format!("{setting}: {message}")),
        Event::StageEnded { stage, result: StageResult::Failed, cause, .. } => {
            Some(format!("{stage} failed: {}", cause.as_deref().unwrap_or("no reason was given")))
        }
        Event::SyncNote { tree, message, .. } => Some(format!("{tree}: {message}")),
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
            Event::SyncNote { tree: "app".into(), message: "is old".into(), pending: false },
            failed,
            Event::BootStarted { pid: 8 },
            Event::SyncNote { tree: "app".into(), message: "is old".into(), pending: false },
            Event::StageStarted { stage: Stage::Preflight },
        ];
        let entries = events.map(|event| Entry { at: 0.0, event });
        assert_eq!(list(&entries[..4]), ["WEB_X: is a typo", "app: is old", "preflight failed: line 3"]);
        assert_eq!(list(&entries), ["WEB_X: is a typo", "app: is old"]);
        let key = |setting: &str| Event::Problem { setting: setting.into(), message: "is no key".into() };
        let keys = ["PUBLIC_KEY", "SSH_PUBLIC_KEY"].map(|name| Entry { at: 0.0, event: key(name) });
        assert_eq!(list(&keys).len(), 2, "the end of a name is another setting");
    }

    #[test]
    fn a_tree_that_is_switched_and_a_stage_that_ends_well_are_no_complaints_any_more() {
        let note =
            |message: &str, pending| Event::SyncNote { tree: "app".into(), message: message.into(), pending };
        let ended = |result, cause: Option<&str>| Event::StageEnded {
            stage: Stage::Sync,
            result,
            cause: cause.map(str::to_owned),
            hint: None,
        };
        let events = [
            Event::BootStarted { pid: 7 },
            note("on this volume, owners are lost", false),
            note("no room", true),
            note("an I/O error", true),
            ended(StageResult::Failed, Some("app: an I/O error")),
            Event::SyncSwitched { tree: "app".into() },
            ended(StageResult::Done, None),
        ];
        let entries = events.map(|event| Entry { at: 0.0, event });
        let lasting = "app: on this volume, owners are lost";
        assert_eq!(list(&entries[..3]), [lasting, "app: no room"]);
        assert_eq!(list(&entries[..4]), [lasting, "app: an I/O error"]);
        assert_eq!(list(&entries[..5]), [lasting, "sync failed: app: an I/O error"]);
        assert_eq!(list(&entries), [lasting]);
    }
}
