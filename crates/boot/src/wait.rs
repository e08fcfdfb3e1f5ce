//! Waits for the end of a stage, for scripts and programs of extended images.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::Result;
use journal::{Journal, Phase, Stage, StageResult, Timeline};
use kit::{Exit, Outcome, cmd};

use crate::boot_state::BootState;
use crate::cli::Wait;

/// A poll takes microseconds, a stage seconds to hours.
const POLL_INTERVAL: Duration = Duration::from_millis(100);
/// The exit code of `timeout` in coreutils.
const TIMED_OUT: u8 = 124;

/// Waits until the stage has ended, then runs the command, or else returns the stage's result as exit code.
pub fn wait(journal: &Journal, wait: &Wait) -> Outcome {
    let stage = wait.stage;
    // A timeout that overflows the clock means no limit.
    let deadline = wait.timeout.and_then(|timeout| Instant::now().checked_add(timeout));
    let mut was_dead = false;
    let mut known = CachedTimeline::default();
    let ended = loop {
        let seen = BootState::load(known.timeline(journal)?.clone());
        if let Some(ended) = end(&seen, stage) {
            break ended;
        }
        let is_dead = seen.timeline.pid.is_some() && !seen.is_running;
        if is_dead && !was_dead {
            if seen.timeline.stopped {
                log::warn!("late boot was stopped; to resume it, run: supervisorctl start boot");
            } else {
                log::warn!("late boot was killed; waiting for supervisord to restart it");
            }
        }
        was_dead = is_dead;
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        if left == Some(Duration::ZERO) {
            log::error!("timed out waiting for {stage}");
            return Ok(Exit::Code(TIMED_OUT));
        }
        thread::sleep(left.map_or(POLL_INTERVAL, |left| left.min(POLL_INTERVAL)));
    };
    if let End::Failed(cause) = &ended {
        log::error!("{stage} failed: {cause}");
    }
    match wait.command.split_first() {
        None => Ok(if matches!(ended, End::Failed(_)) { Exit::No } else { Exit::Done }),
        Some((program, arguments)) => Ok(cmd::exec(Command::new(program).args(arguments))),
    }
}

/// The last timeline; the journal is read again only if it has changed.
#[derive(Default)]
struct CachedTimeline {
    file: Option<(u64, u64)>,
    timeline: Timeline,
}

impl CachedTimeline {
    fn timeline(&mut self, journal: &Journal) -> Result<&Timeline> {
        // The journal only grows, and each start has a new inode.
        let file = fs::metadata(journal.path()).ok().map(|meta| (meta.ino(), meta.len()));
        if file.is_none() || file != self.file {
            self.timeline = Timeline::from_entries(&journal.read()?);
            self.file = file;
        }
        Ok(&self.timeline)
    }
}

enum End {
    Well,
    Failed(String),
}

/// Returns the end of the stage in the latest run. If that run was abandoned, its result counts for every stage. A
/// failure in a run that was stopped does not count: the stage may have been interrupted, and the next run continues
/// it.
fn end(seen: &BootState, stage: Stage) -> Option<End> {
    let stage = if seen.phase == Phase::Abandoned { Stage::Ready } else { stage };
    let run = seen.timeline.stage_run(stage)?;
    Some(match run.result? {
        StageResult::Done | StageResult::Skipped => End::Well,
        StageResult::Failed if seen.timeline.stopped && seen.phase != Phase::Abandoned => return None,
        StageResult::Failed => End::Failed(run.cause.clone().unwrap_or_else(|| "no reason given".to_owned())),
    })
}
