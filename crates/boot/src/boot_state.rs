//! The present state: the journal, and whether the process that wrote it is alive.

use journal::{Phase, Timeline};
use kit::process::Process;
use serde::Serialize;

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
        let is_running = timeline.pid.is_some_and(is_alive);
        Self { phase: timeline.phase(is_running), is_running, timeline }
    }
}

/// True if this process is a `boot`: process ids are reused.
fn is_boot(pid: u32) -> bool {
    Process::new(pid).runs("boot")
}

#[cfg(test)]
pub mod tests {
    use super::*;
    use journal::{Entry, Event, Stage, StageResult};

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
