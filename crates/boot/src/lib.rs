//! Do what may take long after the services have started: the stages up to ready.
//!
//! supervisord runs this once; `supervisorctl start boot` runs it again, because every stage is idempotent. Each stage
//! writes its start and its end to the boot journal, which the portal shows. Two markers tell scripts of extended
//! images how far it is: `/run/workspace_sync` exists until the sync stage has ended, `/run/container_config` until
//! provisioning has ended.

mod child;
mod cli;
mod ending;
mod permissions;
mod stages;
mod sync;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use journal::{Event, Journal, Stage, StageResult};
use kit::{Env, Exit, Outcome};

use cli::Cli;
pub use cli::command;
use ending::Ending;
use permissions::Permissions;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let boot = Boot { journal: Journal::at(&cli.journal), cli: &cli };
    let env = Env::of_process();
    let mut failed = false;
    let permissions_log = cli.logs.join("config.log");
    let sync_log = cli.logs.join("sync.log");

    boot.starts(Stage::Permissions)?;
    let mut permissions = Permissions::start(&permissions_log);

    boot.starts(Stage::Sync)?;
    let (ending, copied) = sync::run(&sync_log).unwrap_or_else(|error| (cannot(&error), false));
    failed |= boot.ends(Stage::Sync, ending)?;
    if copied {
        permissions = permissions.and_then(Permissions::again);
    }
    for stage in [Stage::Preflight, Stage::Provisioning] {
        boot.starts(stage)?;
        failed |= boot.ends(stage, stages::ending(stage, &env))?;
    }
    let ending = permissions.and_then(Permissions::end).unwrap_or_else(|error| cannot(&error));
    failed |= boot.ends(Stage::Permissions, ending)?;

    boot.starts(Stage::Ready)?;
    boot.ends(Stage::Ready, Ending::done())?;
    Ok(if failed { Exit::No } else { Exit::Done })
}

/// A stage whose tool could not even be started.
fn cannot(error: &anyhow::Error) -> Ending {
    Ending::failed(format!("{error:#}"), "the image is damaged: take a new container")
}

struct Boot<'a> {
    journal: Journal,
    cli: &'a Cli,
}

impl Boot<'_> {
    fn starts(&self, stage: Stage) -> Result<()> {
        self.journal.append(Event::StageStarted { stage })
    }

    /// Removes the stage's marker and tells how it ended; returns whether it failed.
    fn ends(&self, stage: Stage, ending: Ending) -> Result<bool> {
        if let Some(marker) = marker(stage) {
            remove(&self.cli.markers.join(marker))?;
        }
        tell(stage, &ending);
        let Ending { result, cause, hint } = ending;
        self.journal.append(Event::StageEnded { stage, result, cause, hint })?;
        Ok(result == StageResult::Failed)
    }
}

/// The file that exists until a stage has ended.
fn marker(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Sync => Some("workspace_sync"),
        Stage::Provisioning => Some("container_config"),
        Stage::Permissions | Stage::Preflight | Stage::Ready => None,
    }
}

fn remove(marker: &Path) -> Result<()> {
    match fs::remove_file(marker) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot remove {}", marker.display()))
        }
        _ => Ok(()),
    }
}

fn tell(stage: Stage, ending: &Ending) {
    match (&ending.result, &ending.cause) {
        (StageResult::Failed, cause) => {
            log::error!("{stage} failed: {}", cause.as_deref().unwrap_or("no reason given"));
        }
        (StageResult::Done, _) => log::info!("{stage}"),
        (StageResult::Skipped, _) => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_marker_that_is_gone_already_is_fine() {
        let dir = tempfile::tempdir().unwrap();
        let marker = dir.path().join("workspace_sync");
        fs::write(&marker, "").unwrap();
        remove(&marker).unwrap();
        remove(&marker).unwrap();
        assert!(!marker.exists());
    }
}
