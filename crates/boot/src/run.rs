//! One run of late boot, from the first stage to ready.

use std::time::{Duration, Instant};

use anyhow::Result;
use env_store::Store;
use journal::{Event, Journal, SettingProblem, Stage, StageResult, Timeline};
use kit::duration::seconds;
use kit::lock::Lock;
use kit::{Env, Exit, HintExt, Outcome, process_limit, threads};

use crate::boot_state::BootState;
use crate::cli::Run;
use crate::stage_outcome::StageOutcome;
use crate::{permissions, preflight, programs, provisioning, shutdown, summary, sync};

/// A run that was killed is restarted by supervisord, this many times in a row at most.
const MAX_INTERRUPTIONS: usize = 5;

/// Runs all stages. A failed one does not stop the later ones, and makes the exit code 1.
pub fn run_stages(journal: Journal, paths: &Run) -> Outcome {
    let lock = Lock::open(&journal.path().with_extension("lock"))?;
    lock.acquire(Duration::ZERO).hint(|| "late boot is already running; run: boot report".to_owned())?;
    shutdown::install_handler(journal.clone())?;
    let mut boot = Boot { journal, paths, attempt: None };
    boot.record(Event::BootStarted { pid: std::process::id() });
    let Timeline { interrupted, attempt, .. } = Timeline::from_entries(&boot.journal.read()?);
    boot.attempt = attempt.map(|began| began.to_string());
    Ok(if interrupted >= MAX_INTERRUPTIONS { boot.give_up(interrupted) } else { boot.stages() })
}

/// A stage that has started.
#[derive(Clone, Copy)]
struct StartedStage {
    stage: Stage,
    at: Instant,
}

struct Boot<'a> {
    journal: Journal,
    paths: &'a Run,
    /// Identifier of this attempt: runs that follow a killed run belong to the same one.
    attempt: Option<String>,
}

impl Boot<'_> {
    /// Runs sync and permissions beside the other stages and waits for all.
    fn stages(&self) -> Exit {
        let (permissions, sync) = (self.start_stage(Stage::Permissions), self.start_stage(Stage::Sync));
        let (background, in_order) =
            threads::beside(|| self.run_background(permissions, sync), || self.run_in_order());
        let failed = in_order | background.unwrap_or(true);
        if shutdown::is_requested() {
            log::warn!("stopped before it finished");
        }
        if failed || shutdown::is_requested() { Exit::No } else { Exit::Done }
    }

    /// Runs the stages that depend on each other, up to ready; returns whether any failed.
    fn run_in_order(&self) -> bool {
        // supervisord's environment lacks the stored variables.
        let mut env = env_store::session_env(Env::from_process(), &self.paths.store);
        let mut failed = false;
        for stage in [Stage::Preflight, Stage::Provisioning, Stage::Programs, Stage::Ready] {
            if shutdown::is_requested() {
                return failed;
            }
            failed |= self.run_stage(stage, || match stage {
                Stage::Preflight => self.preflight(&mut env),
                Stage::Provisioning => self.provisioning(&env),
                Stage::Programs => programs::run(&self.paths.programs, &self.paths.shown),
                _ => Ok(StageOutcome::done()),
            });
        }
        log_failure(self.summary());
        failed
    }

    /// Corrects permissions and copies trees to the workspace concurrently; returns whether either failed.
    fn run_background(&self, permissions: StartedStage, sync: StartedStage) -> bool {
        let logs = &self.paths.logs;
        let (permissions_log, sync_log) = (logs.join("config.log"), logs.join("sync.log"));
        // fix-perms changes the ctimes that distinguish the container's changes from the image's files.
        let recorded = sync::snapshot(&sync_log).unwrap_or_else(|error| internal_failure(&error));
        let correct =
            |part| permissions::run(part, &permissions_log).unwrap_or_else(|error| internal_failure(&error));
        let copy = || {
            let (ending, copied) =
                sync::run(&sync_log).unwrap_or_else(|error| (internal_failure(&error), false));
            let ending = ending.or_failure(recorded);
            if copied { (false, Some(ending)) } else { (self.end_stage(sync, ending), None) }
        };
        let (corrected, (failed, copied)) =
            threads::beside(|| self.end_stage(permissions, correct(None)), copy);
        let failed = failed | corrected.unwrap_or(true);
        // New copies need ACLs too, but two runs of fix-perms would interfere with each other.
        let correct_copies = |ending: StageOutcome| ending.or_failure(correct(Some("workspace")));
        copied.map(correct_copies).is_some_and(|ending| self.end_stage(sync, ending)) | failed
    }

    /// Prints the summary at the end of a start.
    fn summary(&self) -> Result<()> {
        let host = nix::unistd::gethostname().unwrap_or_default();
        let mut timeline = Timeline::from_entries(&self.journal.read()?);
        timeline.problems.extend(self.journal.down_programs().into_iter().map(SettingProblem::from));
        let state = BootState::load(timeline);
        // The values of `init`; boot has fewer of them if it was started by `docker exec`.
        let mut env = Env::from_process();
        for (name, value) in Store::read(&self.paths.store).unwrap_or_default().iter() {
            env.set(name, value);
        }
        for line in summary::lines(&env, &host.to_string_lossy(), &state) {
            log::info!("{line}");
        }
        Ok(())
    }

    fn preflight(&self, env: &mut Env) -> Result<StageOutcome> {
        let paths = preflight::PreflightPaths {
            hooks: &self.paths.hooks,
            store: &self.paths.store,
            record: &self.paths.record,
            log: &self.paths.logs.join("preflight.log"),
        };
        preflight::run(&paths, env, |message| {
            self.record(Event::StageNote { stage: Stage::Preflight, message });
        })
    }

    fn provisioning(&self, env: &Env) -> Result<StageOutcome> {
        let log = self.paths.logs.join("provisioning.log");
        provisioning::run(env, self.attempt.as_deref(), self.journal.path(), &log)
    }

    /// Gives up, so that a stage that kills its own boot does not repeat that forever.
    fn give_up(&self, interrupted: usize) -> Exit {
        let cause = format!("late boot was killed {interrupted} times and is not restarted");
        let ending = StageOutcome::failed(
            cause,
            "see boot report and logtail boot for the reason, then run: supervisorctl start boot",
        );
        self.run_stage(Stage::Ready, || Ok(ending));
        Exit::No
    }

    /// Starts a stage, runs it and records its outcome; returns whether it failed.
    fn run_stage(&self, stage: Stage, work: impl FnOnce() -> Result<StageOutcome>) -> bool {
        let started = self.start_stage(stage);
        self.end_stage(started, work().unwrap_or_else(|error| internal_failure(&error)))
    }

    fn start_stage(&self, stage: Stage) -> StartedStage {
        self.record(Event::StageStarted { stage });
        StartedStage { stage, at: Instant::now() }
    }

    /// Removes the stage's marker and records the outcome; returns whether the stage failed.
    ///
    /// The marker of a stage that was interrupted by a stop stays: programs that wait for it would start on half of its
    /// work.
    fn end_stage(&self, started: StartedStage, ending: StageOutcome) -> bool {
        let stage = started.stage;
        let is_interrupted = ending.result == StageResult::Failed && shutdown::is_requested();
        if let Some(marker) = marker(stage).filter(|_| !is_interrupted) {
            log_failure(kit::remove_file(&self.paths.markers.join(marker)));
        }
        log_outcome(started, &ending);
        let StageOutcome { result, cause, restricted_cause, hint } = ending;
        self.record(Event::StageEnded { stage, result, cause, hint: hint.clone() });
        if let Some(cause) = restricted_cause {
            log_failure(self.journal.append_restricted(Event::StageEnded {
                stage,
                result,
                cause: Some(cause),
                hint,
            }));
        }
        result == StageResult::Failed
    }

    /// Stages run even if the journal cannot be written, for example on a full disk.
    fn record(&self, event: Event) {
        log_failure(self.journal.append(event));
    }
}

fn log_failure(done: Result<()>) {
    if let Err(error) = done {
        log::error!("{error:#}");
    }
}

/// Returns the outcome of a stage that could not run at all.
fn internal_failure(error: &anyhow::Error) -> StageOutcome {
    let hint = match kit::exit::hint(error) {
        Some(hint) if hint == process_limit::REMEDY => {
            format!("{hint}; then run: supervisorctl restart boot")
        }
        Some(hint) => hint,
        None => "run: supervisorctl restart boot".to_owned(),
    };
    StageOutcome::failed(format!("{error:#}"), hint)
}

/// Returns the name of the marker file that exists until a stage has ended.
fn marker(stage: Stage) -> Option<&'static str> {
    match stage {
        Stage::Sync => Some("workspace_sync"),
        Stage::Provisioning => Some("container_config"),
        Stage::Permissions | Stage::Preflight | Stage::Programs | Stage::Ready => None,
    }
}

fn log_outcome(StartedStage { stage, at }: StartedStage, ending: &StageOutcome) {
    match (&ending.result, ending.restricted_cause.as_ref().or(ending.cause.as_ref())) {
        (StageResult::Failed, cause) => {
            log::error!("{stage} failed: {}", cause.map_or("no reason given", String::as_str));
        }
        (StageResult::Done, _) if stage == Stage::Ready => {}
        (StageResult::Done, _) => log::info!("{stage} finished in {}", seconds(at.elapsed().as_secs_f64())),
        (StageResult::Skipped, _) => {}
    }
}
