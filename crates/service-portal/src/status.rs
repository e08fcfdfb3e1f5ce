//! Status of the container in one short line, for the header of every page.

use journal::{Entry, Stage, StageRun, Timeline};
use serde::Serialize;

use crate::problems::{Problem, Severity};

/// How the container is, from best to worst but for the start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// Late boot is running.
    Starting,
    /// Everything works.
    Ready,
    /// Something works differently from what was asked for.
    Warning,
    /// Something is down or has failed.
    Error,
}

impl Level {
    /// Returns the class of its elements.
    pub fn class(self) -> &'static str {
        match self {
            Self::Starting => "busy",
            Self::Ready => "good",
            Self::Warning => "warn",
            Self::Error => "bad",
        }
    }
}

/// The line and its level.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Colour of the line.
    pub level: Level,
    /// The line, such as `Ready, 1 problem`.
    pub text: String,
    /// Its two parts: the phase of the boot, and the number of problems if there are any.
    #[serde(skip)]
    pub parts: (String, Option<String>),
}

impl Status {
    /// Sums up the journal of the boot and the problems.
    pub fn new(entries: &[Entry], problems: &[Problem]) -> Self {
        let (phase, phase_level) = phase(entries);
        let count = |severity| problems.iter().filter(|problem| problem.severity == severity).count();
        let (errors, warnings) = (count(Severity::Error), count(Severity::Warning));
        let level = match (errors, warnings, phase_level) {
            (1.., _, _) => Level::Error,
            (_, 1.., Level::Ready) => Level::Warning,
            (_, _, level) => level,
        };
        let count = match (errors, warnings) {
            (0, 0) => None,
            (0, warnings) => Some(counted(warnings, "warning")),
            (errors, _) => Some(counted(errors, "problem")),
        };
        let text = count.as_ref().map_or_else(|| phase.clone(), |count| format!("{phase}, {count}"));
        Self { level, text, parts: (phase, count) }
    }

    /// Returns what pages on a service's port may show.
    pub fn without_details(entries: &[Entry]) -> Self {
        let is_ready = journal::is_ready(entries);
        let level = if is_ready { Level::Ready } else { Level::Starting };
        let phase = if is_ready { "Ready" } else { "Starting" };
        Self { level, text: phase.to_owned(), parts: (phase.to_owned(), None) }
    }
}

/// Returns a number with its noun.
pub fn counted(number: usize, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

/// Returns the phase of the boot in words, and its level.
fn phase(entries: &[Entry]) -> (String, Level) {
    let timeline = Timeline::from_entries(entries);
    let sync = timeline.running_sync().filter(|_| !timeline.stopped);
    if journal::is_ready(entries) {
        let text = sync.map_or_else(|| "Ready".to_owned(), |sync| format!("Ready, {}", describe(sync)));
        return (text, Level::Ready);
    }
    // The last stage of an abandoned boot has ended, although the container is not ready.
    if timeline.stage_run(Stage::Ready).is_some_and(|ready| ready.ended.is_some()) {
        return ("Start abandoned".to_owned(), Level::Error);
    }
    if timeline.stopped {
        return ("Start stopped".to_owned(), Level::Warning);
    }
    match timeline.current_stage().or(sync) {
        Some(stage) => (format!("Starting: {}", describe(stage)), Level::Starting),
        None => ("Starting".to_owned(), Level::Starting),
    }
}

/// Returns what late boot and the copy to the workspace do at the moment.
pub fn activity(entries: &[Entry]) -> Option<String> {
    let timeline = Timeline::from_entries(entries);
    if timeline.stopped {
        return None;
    }
    let current = timeline.current_stage().filter(|_| !journal::is_ready(entries));
    let with_note = |run: &StageRun| match &run.note {
        Some(note) => format!("{}: {note}", run.stage),
        None => run.stage.to_string(),
    };
    let stages: Vec<String> = current.into_iter().chain(timeline.running_sync()).map(with_note).collect();
    (!stages.is_empty()).then(|| stages.join("; "))
}

/// Returns the name of a stage, with the percentage of a copy.
fn describe(run: &StageRun) -> String {
    let percent = run.note.as_deref().filter(|_| run.stage == Stage::Sync).and_then(percentage);
    percent.map_or_else(|| run.stage.to_string(), |percent| format!("{} {percent} %", run.stage))
}

/// Returns the number before the first percent sign.
fn percentage(note: &str) -> Option<u8> {
    let before = note.split_once(" %")?.0;
    before.rsplit(' ').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use journal::{Event, StageResult};

    fn ended(stage: Stage, result: StageResult) -> Event {
        Event::StageEnded { stage, result, cause: None, hint: None }
    }

    fn line(events: &[Event], problems: &[Problem]) -> String {
        let entries: Vec<Entry> =
            events.iter().map(|event| Entry { at: 0.0, event: event.clone() }).collect();
        let Status { level, text, .. } = Status::new(&entries, problems);
        format!("{} {text}", level.class())
    }

    #[test]
    fn the_boot_is_followed_and_a_copy_continues_after_ready() {
        let started = |stage| Event::StageStarted { stage };
        let note = "micromamba: 42 %, 2.3 GB of 5.5 GB, 32 s left".to_owned();
        let mut events = vec![Event::BootStarted { pid: 7 }];
        assert_eq!(line(&[], &[]), "busy Starting");
        events.push(started(Stage::Sync));
        assert_eq!(line(&events, &[]), "busy Starting: sync");
        events.push(Event::StageNote { stage: Stage::Sync, message: note });
        assert_eq!(line(&events, &[]), "busy Starting: sync 42 %");
        events.push(started(Stage::Provisioning));
        let note = Event::StageNote { stage: Stage::Provisioning, message: "at 7 %".into() };
        events.push(note);
        assert_eq!(line(&events, &[]), "busy Starting: provisioning");
        let entries: Vec<Entry> =
            events.iter().map(|event| Entry { at: 0.0, event: event.clone() }).collect();
        let both = "provisioning: at 7 %; sync: micromamba: 42 %, 2.3 GB of 5.5 GB, 32 s left";
        assert_eq!((activity(&entries).as_deref(), activity(&[])), (Some(both), None));
        events.push(ended(Stage::Provisioning, StageResult::Done));
        events.extend([started(Stage::Ready), ended(Stage::Ready, StageResult::Done)]);
        assert_eq!(line(&events, &[]), "good Ready, sync 42 %");
        let stopped = [&events[..], &[Event::BootStopped]].concat();
        assert_eq!(line(&stopped, &[]), "good Ready");
        events.push(ended(Stage::Sync, StageResult::Done));
        assert_eq!(line(&events, &[]), "good Ready");
    }

    #[test]
    fn errors_are_counted_before_warnings() {
        let ready = [ended(Stage::Ready, StageResult::Done)];
        let ready = [&[Event::StageStarted { stage: Stage::Ready }][..], &ready].concat();
        let (error, warning) = (Problem::error("caddy", "is down"), Problem::warning("WEB_X", "is a typo"));
        let of = |problems: &[&Problem]| {
            let problems: Vec<Problem> = problems.iter().map(|&problem| problem.clone()).collect();
            line(&ready, &problems)
        };
        assert_eq!(of(&[]), "good Ready");
        assert_eq!(of(&[&warning]), "warn Ready, 1 warning");
        assert_eq!(of(&[&warning, &warning]), "warn Ready, 2 warnings");
        assert_eq!(of(&[&warning, &error]), "bad Ready, 1 problem");
        assert_eq!(line(&[], &[warning]), "busy Starting, 1 warning");
        assert_eq!(line(&[], &[error]), "bad Starting, 1 problem");
    }

    #[test]
    fn an_abandoned_or_stopped_boot_is_not_starting() {
        let end = ended(Stage::Ready, StageResult::Failed);
        let given_up = [Event::BootStarted { pid: 7 }, Event::StageStarted { stage: Stage::Ready }, end];
        let failed = Problem::error("ready", "failed: killed 5 times");
        assert_eq!(line(&given_up, &[failed]), "bad Start abandoned, 1 problem");
        assert_eq!(line(&[Event::BootStarted { pid: 7 }, Event::BootStopped], &[]), "warn Start stopped");
    }
}
