//! The boot as the boot page and the API show it: stages with their times, copies, messages and remedies.

use journal::{Entry, Event, Phase, SettingProblem, Stage, StageResult, StageRun, Timeline};
use kit::process::Process;
use serde::Serialize;

/// Everything since the container's start.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BootReport {
    /// Progress of the start.
    pub phase: Phase,
    /// Time of this report, in seconds since the Unix epoch.
    pub now: f64,
    /// Time at which the waterfall begins: the start of the container, or of a run that was started later.
    pub began: f64,
    /// Duration of `init`, in milliseconds; `None` while it runs.
    pub init_milliseconds: Option<u64>,
    /// True if `init` is a part of the waterfall.
    #[serde(skip)]
    shows_init: bool,
    /// Seconds from `began` until ready.
    pub ready_after: Option<f64>,
    /// Stages of the latest run of late boot, in the order of their starts.
    pub stages: Vec<StageReport>,
    /// Settings that cannot be used as given.
    pub problems: Vec<SettingProblem>,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageReport {
    pub stage: Stage,
    pub state: StageState,
    /// Seconds from the beginning of the waterfall to the stage's start.
    pub start: f64,
    /// Duration in seconds so far.
    pub seconds: f64,
    /// Cause of a failure, remark on a success, or current activity.
    pub message: Option<String>,
    /// Next step for the user.
    pub remedy: Option<String>,
    /// Name of the stage's log.
    pub log: &'static str,
    /// True if ready does not wait for the stage.
    pub in_background: bool,
    /// Copies of trees to the workspace.
    pub copies: Vec<TreeCopy>,
    /// Notes about trees that are no failures.
    pub notes: Vec<TreeNote>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum StageState {
    /// It runs.
    Running,
    /// Everything requested was done.
    Done,
    /// Nothing was requested.
    Skipped,
    /// Something requested was not done.
    Failed,
    /// Late boot was killed or stopped before the stage ended.
    Interrupted,
}

/// Progress of the copy of one tree to the workspace.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeCopy {
    /// Name below `/opt`.
    pub tree: String,
    pub bytes: u64,
    pub bytes_total: u64,
    pub entries: u64,
    pub entries_total: u64,
    /// Average rate since the copy started.
    pub bytes_per_second: u64,
    /// Estimated time left, if it is known.
    pub seconds_left: Option<u64>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct TreeNote {
    /// Name below `/opt`.
    pub tree: String,
    /// A sentence without its full stop.
    pub message: String,
}

impl BootReport {
    /// Builds the report from the journal; `now` is in seconds since the Unix epoch.
    pub fn new(entries: &[Entry], now: f64) -> Self {
        Self::with(entries, now, |pid| Process::new(pid).runs("boot"))
    }

    fn with(entries: &[Entry], now: f64, is_alive: impl Fn(u32) -> bool) -> Self {
        let timeline = Timeline::from_entries(entries);
        let is_running = timeline.pid.is_some_and(is_alive);
        let phase = timeline.phase(is_running);
        // A run that was started hours later would not be visible on a scale from the container's start.
        let is_start = |entry: &Entry| matches!(entry.event, Event::BootStarted { .. });
        let is_first_attempt = entries
            .iter()
            .find(|entry| is_start(entry))
            .is_none_or(|first| timeline.attempt == Some(first.at));
        let start_of_container =
            timeline.began.or_else(|| entries.first().map(|entry| entry.at)).unwrap_or(now);
        let began = if is_first_attempt { start_of_container } else { timeline.attempt.unwrap_or(now) };
        let latest = &entries[entries.iter().rposition(is_start).unwrap_or(entries.len())..];
        // After ready, the process waits for sync and permissions.
        let unfinished = if is_running { StageState::Running } else { StageState::Interrupted };
        let end = if is_running { now } else { latest.last().map_or(now, |entry| entry.at) };
        let stages = timeline.stages.iter().map(|run| stage_report(run, latest, began, (end, unfinished)));
        let stages = stages.collect();
        let ready = timeline.stage_run(Stage::Ready).and_then(|ready| ready.ended);
        Self {
            phase,
            now,
            began,
            init_milliseconds: timeline.init_milliseconds,
            shows_init: is_first_attempt,
            ready_after: ready.filter(|_| phase == Phase::Ready).map(|ready| milliseconds(ready - began)),
            stages,
            problems: timeline.problems,
        }
    }

    /// Returns the length of the waterfall in seconds, at least one tenth.
    pub fn length(&self) -> f64 {
        let ends = self.stages.iter().map(|stage| stage.start + stage.seconds);
        ends.fold(self.init_seconds().unwrap_or_default().max(0.1), f64::max)
    }

    /// Returns the duration of `init` in seconds, if it is part of the waterfall.
    pub fn init_seconds(&self) -> Option<f64> {
        let milliseconds = self.init_milliseconds.filter(|_| self.shows_init)?;
        Some(std::time::Duration::from_millis(milliseconds).as_secs_f64())
    }
}

/// Describes a stage of the run; one without an end has the state `unfinished` until `end`.
fn stage_report(
    stage_run: &StageRun,
    run: &[Entry],
    began: f64,
    (end, unfinished): (f64, StageState),
) -> StageReport {
    let StageRun { stage, began: start, ended, result, cause, hint, note } = stage_run.clone();
    let outcome = match result {
        Some(StageResult::Done) => StageState::Done,
        Some(StageResult::Skipped) => StageState::Skipped,
        Some(StageResult::Failed) => StageState::Failed,
        None => unfinished,
    };
    let is_sync = stage == Stage::Sync;
    let copies = if is_sync { copies(run, ended.is_some()) } else { Vec::new() };
    // The last progress of a copy is with the copy.
    let activity = note.filter(|_| ended.is_none() && copies.is_empty());
    StageReport {
        stage,
        state: outcome,
        start: milliseconds(start - began),
        seconds: milliseconds(ended.unwrap_or(end) - start),
        message: cause.or(activity),
        remedy: hint,
        log: stage.log(),
        in_background: matches!(stage, Stage::Sync | Stage::Permissions),
        notes: if is_sync { notes(run) } else { Vec::new() },
        copies,
    }
}

/// Returns the latest progress of each tree; once the stage has ended, no time is left.
fn copies(run: &[Entry], ended: bool) -> Vec<TreeCopy> {
    let mut copies: Vec<TreeCopy> = Vec::new();
    for entry in run {
        let Event::SyncProgress {
            tree,
            entries,
            entries_total,
            bytes,
            bytes_total,
            bytes_per_second,
            seconds_left,
        } = &entry.event
        else {
            continue;
        };
        copies.retain(|copy| copy.tree != *tree);
        copies.push(TreeCopy {
            tree: tree.clone(),
            bytes: *bytes,
            bytes_total: *bytes_total,
            entries: *entries,
            entries_total: *entries_total,
            bytes_per_second: *bytes_per_second,
            seconds_left: seconds_left.filter(|_| !ended),
        });
    }
    copies
}

/// Returns the notes about trees; a switched tree has no pending note any more.
fn notes(run: &[Entry]) -> Vec<TreeNote> {
    let mut notes: Vec<(bool, TreeNote)> = Vec::new();
    for entry in run {
        match &entry.event {
            Event::SyncNote { tree, message, pending } => {
                notes.retain(|(was_pending, note)| !(*was_pending && *pending && note.tree == *tree));
                notes.push((*pending, TreeNote { tree: tree.clone(), message: message.clone() }));
            }
            Event::SyncSwitched { tree } => notes.retain(|(pending, note)| !(*pending && note.tree == *tree)),
            _ => {}
        }
    }
    notes.into_iter().map(|(_, note)| note).collect()
}

/// Rounds seconds to milliseconds. The clock may have been set back, so a duration is never negative.
fn milliseconds(seconds: f64) -> f64 {
    (seconds.max(0.0) * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn started(stage: Stage) -> Event {
        Event::StageStarted { stage }
    }

    fn ended(stage: Stage, result: StageResult) -> Event {
        Event::StageEnded { stage, result, cause: None, hint: None }
    }

    fn entries(events: Vec<(f64, Event)>) -> Vec<Entry> {
        events.into_iter().map(|(at, event)| Entry { at, event }).collect()
    }

    fn copied(bytes: u64) -> Event {
        Event::SyncProgress {
            tree: "micromamba".into(),
            entries: 1,
            entries_total: 2,
            bytes,
            bytes_total: 100,
            bytes_per_second: 10,
            seconds_left: Some(5),
        }
    }

    /// A boot whose sync goes on after ready.
    fn ready_with_sync() -> Vec<(f64, Event)> {
        vec![
            (100.25, Event::InitEnded { milliseconds: 250 }),
            (101.0, Event::BootStarted { pid: 7 }),
            (101.5, started(Stage::Sync)),
            (101.5, started(Stage::Preflight)),
            (102.0, ended(Stage::Preflight, StageResult::Skipped)),
            (102.0, started(Stage::Ready)),
            (102.5, ended(Stage::Ready, StageResult::Done)),
            (103.0, copied(10)),
            (104.0, copied(40)),
        ]
    }

    #[test]
    fn stages_have_their_offsets_and_go_on_after_ready() {
        let report = BootReport::with(&entries(ready_with_sync()), 110.0, |_| true);
        assert_eq!((report.phase, report.began, report.ready_after), (Phase::Ready, 100.0, Some(2.5)));
        assert_eq!((report.init_seconds(), report.length()), (Some(0.25), 10.0));
        let seen: Vec<_> = report
            .stages
            .iter()
            .map(|stage| (stage.stage, stage.state, stage.start, stage.seconds))
            .collect();
        let expected = [
            (Stage::Sync, StageState::Running, 1.5, 8.5),
            (Stage::Preflight, StageState::Skipped, 1.5, 0.5),
            (Stage::Ready, StageState::Done, 2.0, 0.5),
        ];
        assert_eq!(seen, expected);
        let sync = &report.stages[0];
        assert_eq!((sync.copies.len(), sync.copies[0].bytes, sync.copies[0].seconds_left), (1, 40, Some(5)));
        assert!(sync.in_background && sync.message.is_none() && sync.log == "sync");
        let killed = BootReport::with(&entries(ready_with_sync()), 110.0, |_| false);
        let sync = &killed.stages[0];
        assert_eq!((killed.phase, sync.state, sync.seconds), (Phase::Ready, StageState::Interrupted, 2.5));
    }

    #[test]
    fn a_failure_has_its_cause_and_its_remedy_and_a_switched_tree_no_note() {
        let failed = Event::StageEnded {
            stage: Stage::Sync,
            result: StageResult::Failed,
            cause: Some("app: no space left".into()),
            hint: Some("free some".into()),
        };
        let note =
            |message: &str, pending| Event::SyncNote { tree: "app".into(), message: message.into(), pending };
        let mut events = ready_with_sync();
        events.extend([
            (105.0, note("owners are lost", false)),
            (105.0, note("no space", true)),
            (106.0, failed),
        ]);
        let sync = BootReport::with(&entries(events.clone()), 110.0, |_| false).stages.remove(0);
        assert_eq!((sync.state, sync.seconds), (StageState::Failed, 4.5));
        assert_eq!(
            (sync.message.as_deref(), sync.remedy.as_deref()),
            (Some("app: no space left"), Some("free some"))
        );
        assert_eq!((sync.notes.len(), sync.copies[0].seconds_left), (2, None));
        events.push((107.0, Event::SyncSwitched { tree: "app".into() }));
        let sync = BootReport::with(&entries(events), 110.0, |_| false).stages.remove(0);
        assert_eq!(sync.notes, [TreeNote { tree: "app".into(), message: "owners are lost".into() }]);
    }

    #[test]
    fn the_run_after_a_killed_one_continues_its_waterfall() {
        let mut events = ready_with_sync()[..4].to_vec();
        events.extend([(103.0, Event::BootStarted { pid: 8 }), (103.5, started(Stage::Preflight))]);
        let report = BootReport::with(&entries(events.clone()), 104.0, |pid| pid == 8);
        assert_eq!((report.phase, report.began), (Phase::Running, 100.0));
        assert_eq!((report.stages.len(), report.stages[0].start), (1, 3.5));
        let report = BootReport::with(&entries(events), 104.0, |_| false);
        assert_eq!((report.phase, report.stages[0].state), (Phase::Interrupted, StageState::Interrupted));
        assert!(report.stages[0].seconds < 0.001, "it does not grow");
    }

    #[test]
    fn a_run_that_was_started_later_begins_its_own_waterfall() {
        let mut events = ready_with_sync();
        events.extend([
            (104.0, ended(Stage::Sync, StageResult::Done)),
            (5_000.0, Event::BootStarted { pid: 8 }),
            (5_001.0, started(Stage::Preflight)),
        ]);
        let report = BootReport::with(&entries(events), 5_002.0, |_| true);
        assert_eq!((report.began, report.length(), report.stages[0].start), (5_000.0, 1.0 + 1.0, 1.0));
    }

    #[test]
    fn an_empty_journal_and_a_clock_that_was_set_back_are_shown() {
        let report = BootReport::with(&[], 7.0, |_| true);
        assert_eq!((report.phase, report.began, report.length()), (Phase::Starting, 7.0, 0.1));
        let events = vec![(100.0, Event::BootStarted { pid: 7 }), (90.0, started(Stage::Sync))];
        let report = BootReport::with(&entries(events), 80.0, |_| true);
        assert_eq!((report.stages[0].start, report.stages[0].seconds), (0.0, 0.0));
    }
}
