//! Problems of the boot that the page of services lists.

use journal::{Entry, Event, StageResult};

/// Returns problems with settings and trees, and failures of the latest run of late boot.
///
/// A later event about the same stage or tree replaces an earlier one.
#[must_use]
pub fn list(entries: &[Entry]) -> Vec<String> {
    let latest = entries.iter().rposition(|entry| matches!(entry.event, Event::BootStarted { .. }));
    let (before, run) = entries.split_at(latest.unwrap_or(0));
    let lasting = before.iter().filter(|entry| !matches!(entry.event, Event::StageEnded { .. }));
    let mut problems: Vec<(Option<String>, String)> = Vec::new();
    for entry in lasting.chain(run) {
        let subject = subject(&entry.event);
        if subject.is_some() {
            problems.retain(|(known, _)| *known != subject);
        }
        let problem = problem(&entry.event).map(|problem| (subject, problem));
        // Every run reports an unchanged tree again.
        problems.extend(problem.filter(|problem| !problems.contains(problem)));
    }
    let texts: Vec<String> = problems.into_iter().map(|(_, problem)| problem).collect();
    // A failed stage repeats the problems of its trees. The separators matter: a setting's name may end with another's.
    let is_repeated = |text: &String| {
        texts.iter().any(|other| [": ", "; "].iter().any(|before| other.contains(&format!("{before}{text}"))))
    };
    texts.iter().filter(|text| !is_repeated(text)).cloned().collect()
}

/// Returns the stage or tree about which an event replaces earlier ones.
fn subject(event: &Event) -> Option<String> {
    match event {
        Event::StageEnded { stage, .. } => Some(stage.to_string()),
        Event::SyncNote { tree, pending: true, .. } | Event::SyncSwitched { tree } => {
            Some(format!("/opt/{tree}"))
        }
        _ => None,
    }
}

fn problem(event: &Event) -> Option<String> {
    match event {
        Event::Problem { setting, message } => Some(format!("{setting}: {message}")),
        Event::StageEnded { stage, result: StageResult::Failed, cause, .. } => {
            Some(format!("{stage} failed: {}", cause.as_deref().unwrap_or("no reason given")))
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
    fn a_new_run_clears_failures_of_stages_and_keeps_wrong_settings() {
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
        assert_eq!(list(&keys).len(), 2, "a name that ends with another name");
    }

    #[test]
    fn a_switched_tree_and_a_successful_stage_clear_their_problems() {
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
