//! The present state: the journal, and whether the process that wrote it is alive.

use journal::{Stage, StageResult, Timeline};
use kit::process::Process;
use serde::Serialize;

/// Progress of the container's start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Late boot has not started.
    Starting,
    /// Late boot is running.
    Running,
    /// Late boot was killed.
    Interrupted,
    /// Late boot was asked to stop, and did.
    Stopped,
    /// Late boot was killed too often and is not restarted.
    #[serde(rename = "given_up")]
    Abandoned,
    /// All stages but sync and permissions have ended, successfully or not.
    Ready,
}

/// The journal's timeline, and the state of the process that writes it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct BootState {
    /// Progress of the container's start.
    pub phase: Phase,
    /// True while the process of the latest run is alive: after ready, it waits for sync and permissions.
    #[serde(rename = "at_work")]
    pub is_running: bool,
    /// The events of the journal.
    #[serde(flatten)]
    pub timeline: Timeline,
}

impl BootState {
    /// Adds the state of the process that runs late boot.
    pub fn load(timeline: Timeline) -> Self {
        Self::with(timeline, is_boot)
    }

    fn with(timeline: Timeline, is_alive: impl Fn(u32) -> bool) -> Self {
        let ready = timeline.stage_run(Stage::Ready).and_then(|ready| ready.result);
        let is_running = timeline.pid.is_some_and(is_alive);
        let phase = match timeline.pid {
            None => Phase::Starting,
            Some(_) if ready == Some(StageResult::Failed) => Phase::Abandoned,
            Some(_) if ready.is_some() => Phase::Ready,
            Some(_) if is_running => Phase::Running,
            Some(_) if timeline.stopped => Phase::Stopped,
            Some(_) => Phase::Interrupted,
        };
        Self { phase, is_running, timeline }
    }
}

/// True if this process is a `boot`: process ids are reused.
fn is_boot(pid: u32) -> bool {
    Process::new(pid).runs("boot")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use journal::{Entry, Event};

    /// A state from events one second apart, at 1, 2, 3… seconds.
    pub fn state(events: &[Event], alive: bool) -> BootState {
        let entries: Vec<Entry> =
            (1..).zip(events).map(|(at, event)| Entry { at: f64::from(at), event: event.clone() }).collect();
        BootState::with(Timeline::from_entries(&entries), |_| alive)
    }

    #[test]
    fn a_run_without_its_process_was_interrupted() {
        let begun = [Event::BootStarted { pid: 7 }, Event::StageStarted { stage: Stage::Ready }];
        let end = |result| Event::StageEnded { stage: Stage::Ready, result, cause: None, hint: None };
        assert_eq!(state(&[], true).phase, Phase::Starting);
        assert_eq!(state(&begun, true).phase, Phase::Running);
        assert_eq!(state(&begun, false).phase, Phase::Interrupted);
        let stopped = [&begun[..], &[Event::BootStopped]].concat();
        assert_eq!(
            (state(&stopped, true).phase, state(&stopped, false).phase),
            (Phase::Running, Phase::Stopped)
        );
        let ready = state(&[&begun[..], &[end(StageResult::Done)]].concat(), true);
        assert_eq!((ready.phase, ready.is_running), (Phase::Ready, true), "it still waits for sync");
        let ended = |result| state(&[&begun[..], &[end(result)]].concat(), false).phase;
        assert_eq!(
            (ended(StageResult::Done), ended(StageResult::Failed)),
            (Phase::Ready, Phase::Abandoned),
            "an abandoned boot is not ready"
        );
    }
}
