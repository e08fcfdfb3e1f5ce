//! Problems of the boot: settings, stages and copied trees.

use journal::{Entry, Event, StageResult};

use crate::problems::Problem;

/// Returns problems with settings and trees, and failures of the latest run of late boot.
///
/// A later event about the same stage or tree replaces an earlier one.
#[must_use]
pub fn list(entries: &[Entry]) -> Vec<Problem> {
    let latest = entries.iter().rposition(|entry| matches!(entry.event, Event::BootStarted { .. }));
    let (before, run) = entries.split_at(latest.unwrap_or(0));
    let lasting = before.iter().filter(|entry| !matches!(entry.event, Event::StageEnded { .. }));
    let mut problems: Vec<(Option<String>, Problem)> = Vec::new();
    for entry in lasting.chain(run) {
        let subject = subject(&entry.event);
        if subject.is_some() {
            problems.retain(|(known, _)| *known != subject);
        }
        let problem = problem(&entry.event).map(|problem| (subject, problem));
        // Every run reports an unchanged tree again.
        problems.extend(problem.filter(|problem| !problems.contains(problem)));
    }
    let texts: Vec<String> = problems.iter().map(|(_, problem)| text(problem)).collect();
    // A failed stage repeats the problems of its trees. The separators matter: a setting's name may end with another's.
    let is_repeated = |problem: &Problem| {
        let own = text(problem);
        texts.iter().any(|other| [": ", "; "].iter().any(|before| other.contains(&format!("{before}{own}"))))
    };
    problems.into_iter().map(|(_, problem)| problem).filter(|problem| !is_repeated(problem)).collect()
}

fn text(Problem { source, message, .. }: &Problem) -> String {
    format!("{source}: {message}")
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

fn problem(event: &Event) -> Option<Problem> {
    match event {
        Event::Problem { setting, message } => Some(Problem::warning(setting, message).log("config")),
        Event::StageEnded { stage, result: StageResult::Failed, cause, hint } => {
            let cause = cause.as_deref().unwrap_or("no reason given");
            let problem = Problem::error(stage.to_string(), format!("failed: {cause}")).log(stage.log());
            Some(Problem { remedy: hint.clone(), ..problem })
        }
        Event::SyncNote { tree, message, .. } => Some(Problem::warning(tree, message).log("sync")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use journal::Stage;

    use super::*;

    /// Returns the problems as lines, and the remedies behind an arrow.
    fn lines(entries: &[Entry]) -> Vec<String> {
        let line = |problem: &Problem| {
            let severity = format!("{:?}", problem.severity).to_lowercase();
            let remedy = problem.remedy.as_ref().map_or_else(String::new, |remedy| format!(" -> {remedy}"));
            format!("{severity} {}: {}{remedy}", problem.source, problem.message)
        };
        list(entries).iter().map(line).collect()
    }

    #[test]
    fn a_new_run_clears_failures_of_stages_and_keeps_wrong_settings() {
        let failed = Event::StageEnded {
            stage: Stage::Preflight,
            result: StageResult::Failed,
            cause: Some("line 3".into()),
            hint: Some("read the log".into()),
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
        assert_eq!(
            lines(&entries[..4]),
            [
                "warning WEB_X: is a typo",
                "warning app: is old",
                "error preflight: failed: line 3 -> read the log"
            ]
        );
        assert_eq!(lines(&entries), ["warning WEB_X: is a typo", "warning app: is old"]);
        let key = |setting: &str| Event::Problem { setting: setting.into(), message: "is no key".into() };
        let keys = ["PUBLIC_KEY", "SSH_PUBLIC_KEY"].map(|name| Entry { at: 0.0, event: key(name) });
        assert_eq!(lines(&keys).len(), 2, "a name that ends with another name");
    }

    #[test]
    fn a_switched_tree_and_a_successful_stage_clear_their_problems() {
        let note =
            |message: &str, pending| Event::SyncNote { tree: "app".into(), message: message.into(), pending };
        let ended = |result, cause: Option<&str>| Event::StageEnded {
            stage: Stage::Sync,
            result,
            cause: cause.map(str::to_owned),
            hint: Some("read the log".into()),
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
        let lasting = "warning app: on this volume, owners are lost";
        assert_eq!(lines(&entries[..3]), [lasting, "warning app: no room"]);
        assert_eq!(lines(&entries[..4]), [lasting, "warning app: an I/O error"]);
        assert_eq!(lines(&entries[..5]), [lasting, "error sync: failed: app: an I/O error -> read the log"]);
        assert_eq!(lines(&entries), [lasting]);
    }
}
