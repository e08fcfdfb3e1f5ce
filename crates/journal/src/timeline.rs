//! Timeline of the journal: start, end and result of each stage in the latest run of late boot.

use kit::{duration, units};
use serde::Serialize;

use crate::{Entry, Event, Stage, StageResult};

/// A setting that cannot be used as given.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SettingProblem {
    /// The setting's name.
    pub setting: String,
    /// Description of the mistake, and the value used instead.
    pub message: String,
}

/// One run of a stage.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct StageRun {
    /// The stage.
    pub stage: Stage,
    /// Start time, in seconds since the Unix epoch.
    pub began: f64,
    /// End time; `None` while it runs, or if it was killed.
    pub ended: Option<f64>,
    /// Result of the stage.
    pub result: Option<StageResult>,
    /// Cause of a failure, or a remark on a success.
    pub cause: Option<String>,
    /// Next step for the user.
    pub hint: Option<String>,
    /// Last reported activity.
    pub note: Option<String>,
}

/// Progress of the container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Late boot has not started.
    Starting,
    /// Late boot is running.
    Running,
    /// Late boot was killed; supervisord restarts it.
    Interrupted,
    /// Late boot was asked to stop, and did.
    Stopped,
    /// Late boot was killed too often and is not restarted.
    Abandoned,
    /// All stages but sync and permissions have ended, successfully or not.
    Ready,
}

/// Everything since the container's start. A second run of late boot replaces the stages of the first.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct Timeline {
    /// Duration of `init` in milliseconds; `None` while it runs.
    pub init_milliseconds: Option<u64>,
    /// Start time of `init`, in seconds since the Unix epoch.
    pub began: Option<f64>,
    /// Settings that cannot be used as given.
    pub problems: Vec<SettingProblem>,
    /// Process id of the latest run of late boot.
    pub pid: Option<u32>,
    /// Number of consecutive runs before the latest one that were killed.
    pub interrupted: usize,
    /// Start time of the first of those runs, or of the latest if there are none, in seconds since the Unix epoch.
    /// Together they are one attempt.
    pub attempt: Option<f64>,
    /// True if the latest run was asked to stop.
    pub stopped: bool,
    /// The stages of the latest run, in the order of their starts.
    pub stages: Vec<StageRun>,
}

impl Timeline {
    /// Builds the timeline from the events.
    #[must_use]
    pub fn from_entries(entries: &[Entry]) -> Self {
        let mut timeline = Self::default();
        for entry in entries {
            timeline.take(entry);
        }
        timeline
    }

    /// Returns the progress; `is_running` is true while the process of the latest run is alive.
    #[must_use]
    pub fn phase(&self, is_running: bool) -> Phase {
        let ready = self.stage_run(Stage::Ready).and_then(|ready| ready.result);
        match (self.pid, ready) {
            (None, _) => Phase::Starting,
            (_, Some(StageResult::Failed)) => Phase::Abandoned,
            (_, Some(_)) => Phase::Ready,
            (_, None) if is_running => Phase::Running,
            (_, None) if self.stopped => Phase::Stopped,
            (_, None) => Phase::Interrupted,
        }
    }

    /// True if all stages of the latest run have ended, successfully or not; sync and permissions may end after ready.
    #[must_use]
    pub fn is_finished(&self) -> bool {
        self.stage_run(Stage::Ready).is_some() && self.stages.iter().all(|run| run.ended.is_some())
    }

    /// Returns the latest run of a stage, if it has started.
    #[must_use]
    pub fn stage_run(&self, stage: Stage) -> Option<&StageRun> {
        self.stages.iter().find(|run| run.stage == stage)
    }

    /// Returns the failed stages.
    pub fn failures(&self) -> impl Iterator<Item = &StageRun> {
        self.stages.iter().filter(|run| run.result == Some(StageResult::Failed))
    }

    /// Returns the running stage that ready waits for.
    #[must_use]
    pub fn current_stage(&self) -> Option<&StageRun> {
        self.stages
            .iter()
            .find(|run| run.ended.is_none() && !matches!(run.stage, Stage::Permissions | Stage::Sync))
    }

    /// Returns the sync stage while it runs; ready does not wait for it.
    #[must_use]
    pub fn running_sync(&self) -> Option<&StageRun> {
        self.stage_run(Stage::Sync).filter(|run| run.ended.is_none())
    }

    fn take(&mut self, entry: &Entry) {
        match &entry.event {
            Event::Problem { setting, message } => {
                self.problems.push(SettingProblem { setting: setting.clone(), message: message.clone() });
            }
            Event::InitEnded { milliseconds } => {
                self.init_milliseconds = Some(*milliseconds);
                // A start takes far less than the 2^52 ms that a float counts exactly.
                #[allow(clippy::cast_precision_loss)]
                let seconds = *milliseconds as f64 / 1000.0;
                self.began = Some(entry.at - seconds);
            }
            Event::BootStarted { pid } => {
                let unfinished = self.pid.is_some() && !self.is_finished() && !self.stopped;
                self.interrupted = if unfinished { self.interrupted + 1 } else { 0 };
                if !unfinished {
                    self.attempt = Some(entry.at);
                }
                self.pid = Some(*pid);
                self.stopped = false;
                self.stages.clear();
            }
            Event::BootStopped => self.stopped = true,
            Event::StageStarted { stage } => self.stages.push(StageRun {
                stage: *stage,
                began: entry.at,
                ended: None,
                result: None,
                cause: None,
                hint: None,
                note: None,
            }),
            Event::StageNote { stage, message } => {
                self.change(*stage, |run| run.note = Some(message.clone()));
            }
            Event::StageEnded { stage, result, cause, hint } => self.change(*stage, |run| {
                run.ended = Some(entry.at);
                run.result = Some(*result);
                run.cause.clone_from(cause);
                run.hint.clone_from(hint);
            }),
            Event::SyncProgress { tree, bytes, bytes_total, seconds_left, .. } => {
                let progress = progress(tree, *bytes, *bytes_total, *seconds_left);
                self.change(Stage::Sync, |run| run.note = Some(progress));
            }
            Event::SyncNote { .. } | Event::SyncSwitched { .. } => {}
        }
    }

    fn change(&mut self, stage: Stage, change: impl FnOnce(&mut StageRun)) {
        if let Some(run) = self.stages.iter_mut().rfind(|run| run.stage == stage) {
            change(run);
        }
    }
}

/// Formats the progress of a copy as one line.
fn progress(tree: &str, bytes: u64, bytes_total: u64, seconds_left: Option<u64>) -> String {
    let percent = bytes.saturating_mul(100).checked_div(bytes_total).unwrap_or(100).min(100);
    let mut text = format!(
        "{tree}: {percent} %, {} of {}",
        units::format_bytes(bytes),
        units::format_bytes(bytes_total)
    );
    if let Some(seconds) = seconds_left {
        text.extend([", ", &duration::words(seconds), " left"]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn timeline(events: Vec<Event>) -> Timeline {
        let entries: Vec<Entry> =
            (1..).zip(events).map(|(at, event)| Entry { at: f64::from(at), event }).collect();
        Timeline::from_entries(&entries)
    }

    fn started(stage: Stage) -> Event {
        Event::StageStarted { stage }
    }

    fn ended(stage: Stage) -> Event {
        Event::StageEnded { stage, result: StageResult::Done, cause: None, hint: None }
    }

    #[test]
    fn a_stage_has_its_times_its_end_and_its_last_word() {
        let seen = timeline(vec![
            Event::InitEnded { milliseconds: 500 },
            Event::BootStarted { pid: 7 },
            started(Stage::Sync),
            Event::StageNote { stage: Stage::Sync, message: "one".into() },
            Event::StageNote { stage: Stage::Sync, message: "two".into() },
            Event::StageEnded {
                stage: Stage::Sync,
                result: StageResult::Failed,
                cause: Some("no room".into()),
                hint: Some("make some".into()),
            },
        ]);
        assert_eq!((seen.began, seen.pid, seen.is_finished()), (Some(0.5), Some(7), false));
        let expected = StageRun {
            stage: Stage::Sync,
            began: 3.0,
            ended: Some(6.0),
            result: Some(StageResult::Failed),
            cause: Some("no room".into()),
            hint: Some("make some".into()),
            note: Some("two".into()),
        };
        assert_eq!(seen.failures().collect::<Vec<_>>(), [&expected]);
        assert_eq!(seen.stages, [expected]);
    }

    #[test]
    fn a_later_run_replaces_the_stages_and_unfinished_ones_are_counted() {
        let run = |finished: bool| {
            let mut events = vec![Event::BootStarted { pid: 1 }, started(Stage::Ready)];
            events.extend(finished.then(|| ended(Stage::Ready)));
            events
        };
        assert_eq!(timeline(run(true)).interrupted, 0);
        let twice = timeline([run(false), run(false), run(false)].concat());
        assert_eq!((twice.interrupted, twice.stages.len(), twice.attempt), (2, 1, Some(1.0)));
        let after = timeline([run(false), run(true), run(true)].concat());
        assert_eq!((after.interrupted, after.is_finished(), after.attempt), (0, true, Some(6.0)));
    }

    #[test]
    fn a_run_that_was_stopped_was_not_killed() {
        let run = [Event::BootStarted { pid: 1 }, started(Stage::Sync), Event::BootStopped];
        let begun_again = [run.to_vec(), run.to_vec(), run[..2].to_vec()].concat();
        let seen = timeline(vec![run.to_vec(); 6].concat());
        assert_eq!((seen.interrupted, seen.stopped, seen.attempt), (0, true, Some(16.0)));
        let seen = timeline(begun_again);
        assert_eq!((seen.interrupted, seen.stopped), (0, false));
    }

    #[test]
    fn ready_does_not_wait_for_sync_and_permissions() {
        let mut events = vec![started(Stage::Permissions), started(Stage::Sync)];
        assert_eq!(timeline(events.clone()).current_stage(), None);
        events.push(started(Stage::Preflight));
        let seen = timeline(events.clone());
        assert_eq!(seen.current_stage().map(|run| run.stage), Some(Stage::Preflight));
        assert_eq!(seen.running_sync().map(|run| run.stage), Some(Stage::Sync));
        events.push(ended(Stage::Sync));
        assert_eq!(timeline(events).running_sync(), None);
    }

    #[test]
    fn a_run_that_was_killed_during_sync_was_interrupted_although_it_was_ready() {
        let mut events = vec![Event::BootStarted { pid: 1 }, started(Stage::Sync), started(Stage::Ready)];
        events.push(ended(Stage::Ready));
        assert!(!timeline(events.clone()).is_finished());
        let killed = [events.clone(), vec![Event::BootStarted { pid: 2 }]].concat();
        assert_eq!(timeline(killed).interrupted, 1);
        events.push(ended(Stage::Sync));
        assert!(timeline(events).is_finished());
    }

    #[test]
    fn the_last_word_of_sync_is_how_far_its_copy_is() {
        let progress = Event::SyncProgress {
            tree: "micromamba".into(),
            entries: 1,
            entries_total: 2,
            bytes: 2_300_000_000,
            bytes_total: 5_450_000_000,
            bytes_per_second: 100_000_000,
            seconds_left: Some(32),
        };
        let seen = timeline(vec![started(Stage::Sync), started(Stage::Provisioning), progress]);
        let note = seen.running_sync().and_then(|run| run.note.as_deref());
        assert_eq!(note, Some("micromamba: 42 %, 2.3 GB of 5.5 GB, 32 s left"));
    }
}
