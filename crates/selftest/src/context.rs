//! What all checks know about the container.

use std::fs;
use std::path::Path;

use anyhow::{Context as _, Result};
use env_store::{Store, session_env};
use journal::{Journal, Phase, Timeline};
use kit::Env;
use kit::process::Process;
use workspace::Workspace;

/// Settings and progress of the container.
#[derive(Debug)]
pub struct Context {
    /// Variables of a session.
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
        let env = session_env(Env::from_process(), Path::new(env_store::PATH));
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

    /// True if services may still be starting.
    pub fn is_booting(&self) -> bool {
        matches!(self.phase(), Some(Phase::Starting | Phase::Running))
    }
}

/// Returns a stored variable. The variables of this process may be those of an earlier login.
pub fn stored(name: &str) -> Option<String> {
    let store = Store::read(Path::new(env_store::PATH)).ok()?;
    let stored = store.iter().find(|(stored, _)| *stored == name);
    stored.and_then(|(_, value)| value.to_str()).map(str::to_owned)
}
