//! Do what may take long after the services have started: the stages up to ready.
//!
//! supervisord runs this once; `supervisorctl start boot` runs it again, because every stage is idempotent. Each stage
//! writes its start and its end to the boot journal, which the portal shows. Two markers tell scripts of extended
//! images how far it is: `/run/workspace_sync` exists until the sync stage has ended, `/run/container_config` until
//! provisioning has ended.

mod cli;
mod stages;

use std::fs;
use std::io;
use std::path::Path;

use anyhow::{Context, Result};
use clap::Parser;
use journal::{Event, Journal, Stage, StageResult};
use kit::{Env, Exit, Outcome};

pub use cli::command;
use stages::Ending;

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    let journal = Journal::at(&cli.journal);
    let env = Env::of_process();
    let mut failed = false;
    for stage in [Stage::Sync, Stage::Preflight, Stage::Provisioning, Stage::Ready] {
        journal.append(Event::StageStarted { stage })?;
        let ending = stages::ending(stage, &env);
        failed |= ending.result == StageResult::Failed;
        if let Some(marker) = marker(stage) {
            remove(&cli.markers.join(marker))?;
        }
        tell(stage, &ending);
        let Ending { result, cause, hint } = ending;
        journal.append(Event::StageEnded { stage, result, cause, hint })?;
    }
    Ok(if failed { Exit::No } else { Exit::Done })
}

/// The file that exists until a stage has ended.
fn marker(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Sync => Some("workspace_sync"),
        Stage::Provisioning => Some("container_config"),
        Stage::Preflight | Stage::Ready => None,
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
