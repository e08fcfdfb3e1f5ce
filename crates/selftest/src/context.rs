//! What all checks know about the container.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use env_store::{Store, settings_in_force};
use journal::{Journal, Phase, Timeline};
use kit::Env;
use kit::process::Process;
use workspace::Workspace;

/// Seconds that programs may take to listen; a user's script may run for hours after them.
const SETTLING: f64 = 15.0;

/// Settings and progress of the container.
#[derive(Debug)]
pub struct Context {
    /// The settings in force.
    pub env: Env,
    /// True if this process is root.
    pub is_root: bool,
    /// The boot journal.
    pub journal: Journal,
    /// Events of the start; `None` if `init` has not run.
    pub timeline: Option<Timeline>,
    /// True while the process of late boot is alive.
    pub boot_is_running: bool,
    /// The workspace.
    pub workspace: Workspace,
}

impl Context {
    /// Reads them.
    pub fn load() -> Result<Self> {
        let env = settings_in_force(Env::from_process(), Path::new(env_store::PATH));
        let journal = Journal::new(Path::new(journal::PATH));
        let timeline = if fs::exists(journal.path()).context("cannot access the boot journal")? {
            Some(Timeline::from_entries(&journal.read()?))
        } else {
            None
        };
        let pid = timeline.as_ref().and_then(|timeline| timeline.pid);
        Ok(Self {
            boot_is_running: pid.is_some_and(|pid| Process::new(pid).runs("boot")),
            is_root: nix::unistd::geteuid().is_root(),
            workspace: Workspace::from_env(&env).0,
            env,
            journal,
            timeline,
        })
    }

    /// Returns the progress of the start.
    pub fn phase(&self) -> Option<Phase> {
        Some(self.timeline.as_ref()?.phase(self.boot_is_running))
    }

    /// True if programs may not listen yet.
    pub fn is_settling(&self) -> bool {
        let began = self.timeline.as_ref().and_then(|timeline| timeline.began);
        self.phase().is_some_and(|phase| is_settling(phase, began, journal::unix_time()))
    }

    /// True if services may still be starting.
    pub fn is_booting(&self) -> bool {
        matches!(self.phase(), Some(Phase::Starting | Phase::Running))
    }
}

/// `began` and `now` are in seconds since the Unix epoch.
fn is_settling(phase: Phase, began: Option<f64>, now: f64) -> bool {
    match phase {
        Phase::Starting => true,
        Phase::Running => began.is_some_and(|began| now - began < SETTLING),
        Phase::Interrupted | Phase::Stopped | Phase::Abandoned | Phase::Ready => false,
    }
}

/// Returns a stored variable. The variables of this process may be those of an earlier login.
pub fn stored(name: &str) -> Option<String> {
    let store = Store::read(Path::new(env_store::PATH)).ok()?;
    let stored = store.iter().find(|(stored, _)| *stored == name);
    stored.and_then(|(_, value)| value.to_str()).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_first_seconds_of_a_start_excuse_a_program() {
        for (phase, began, settles) in [
            (Phase::Starting, None, true),
            (Phase::Running, Some(90.0), true),
            (Phase::Running, Some(80.0), false),
            (Phase::Running, None, false),
            (Phase::Interrupted, Some(99.0), false),
            (Phase::Ready, Some(99.0), false),
        ] {
            assert_eq!(is_settling(phase, began, 100.0), settles, "{phase:?} {began:?}");
        }
    }
}
