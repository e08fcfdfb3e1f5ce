//! Retries a failed `run` with growing pauses; each attempt is a child process.

use std::io::Read;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use journal::{Event, Journal, Stage, StageResult, StageRun, Timeline};

use crate::report::{Outcome, Report};
use kit::quote::escape_control_line;

/// Longest pause as a multiple of the first one: five minutes.
pub const LONGEST: u32 = 60;

/// The attempts, one at a time.
pub struct Retry<'a> {
    journal: &'a Journal,
    attempt: Command,
    first: Duration,
    pause: Duration,
    state: State,
    /// `fix-perms`, at work on a new copy.
    permissions: Option<Child>,
}

enum State {
    Due(Instant),
    Running(Child),
    Ended,
}

impl<'a> Retry<'a> {
    /// Prepares to repeat `attempt`, which prints reports; does nothing unless `is_wanted`.
    pub fn new(journal: &'a Journal, attempt: Command, first: Duration, is_wanted: bool) -> Self {
        let mut retry =
            Self { journal, attempt, first, pause: first, state: State::Ended, permissions: None };
        if is_wanted {
            retry.schedule();
        }
        retry
    }

    /// True once no further attempt will be made.
    pub fn has_ended(&self) -> bool {
        matches!(self.state, State::Ended) && self.permissions.is_none()
    }

    /// Returns the time until the next attempt; nothing while one is running or none is left.
    pub fn time_until_next(&self) -> Option<Duration> {
        match &self.state {
            State::Due(at) => Some(at.saturating_duration_since(Instant::now())),
            State::Running(_) | State::Ended => None,
        }
    }

    /// Starts an attempt that is due, or handles the exit of a running one.
    pub fn poll(&mut self) -> Result<()> {
        if let Some(child) = &mut self.permissions
            && let Some(status) = child.try_wait().context("cannot wait for fix-perms")?
        {
            self.permissions = None;
            if !status.success() {
                log::warn!("fix-perms failed ({status}); run: fix-perms --only workspace");
            }
        }
        match &mut self.state {
            State::Due(at) if *at <= Instant::now() => {
                self.attempt.stdin(Stdio::null()).stdout(Stdio::piped());
                self.state = State::Running(self.attempt.spawn().context("cannot run workspace-sync")?);
            }
            State::Running(child) => {
                if let Some(status) = child.try_wait().context("cannot wait for workspace-sync")? {
                    let mut said = Vec::new();
                    if let Some(mut stdout) = child.stdout.take() {
                        stdout.read_to_end(&mut said).context("cannot read what workspace-sync reports")?;
                    }
                    self.judge(&said, status);
                }
            }
            State::Due(_) | State::Ended => {}
        }
        Ok(())
    }

    /// Kills a running attempt: the next one resumes its copy, and late boot fixes permissions.
    pub fn stop(&mut self) {
        let attempt = if let State::Running(child) = &mut self.state { Some(child) } else { None };
        for child in attempt.into_iter().chain(&mut self.permissions) {
            let _ = child.kill();
            let _ = child.wait();
        }
        self.permissions = None;
        self.state = State::Ended;
    }

    fn judge(&mut self, said: &[u8], status: ExitStatus) {
        let lines = said.split(|&byte| byte == b'\n');
        let reports: Vec<Report> = lines.filter_map(|line| serde_json::from_slice(line).ok()).collect();
        let failed: Vec<&Report> =
            reports.iter().filter(|report| report.outcome == Outcome::Failed).collect();
        let is_transient = failed.iter().any(|report| report.retrying);
        if reports.iter().any(|report| report.outcome == Outcome::Copied) {
            self.open_to_owner();
        }
        if failed.is_empty() && status.success() {
            self.state = State::Ended;
            return;
        }
        // A killed process, or one that found the lock taken, reports no tree.
        if is_transient || failed.is_empty() {
            self.pause = (self.pause * 2).min(self.first * LONGEST);
            self.schedule();
        } else {
            self.state = State::Ended;
        }
        let cause = |report: &&Report| {
            Some(format!("{}: {}", report.tree, report.cause.as_deref().unwrap_or("no reason was given")))
        };
        let causes: Vec<String> = failed.iter().filter_map(cause).collect();
        if !causes.is_empty() {
            let hint = failed.iter().find_map(|report| report.hint.clone());
            self.record_failure(causes.join("; "), hint.as_deref(), is_transient);
        }
    }

    fn schedule(&mut self) {
        self.state = State::Due(Instant::now() + self.pause);
    }

    /// Gives the workspace's owner access to a new copy, as late boot does after its own run.
    fn open_to_owner(&mut self) {
        let mut command = kit::cmd::killed_with_parent(kit::cmd::image_program("fix-perms"));
        match command.args(["--only", "workspace"]).stdin(Stdio::null()).spawn() {
            Ok(child) => self.permissions = Some(child),
            Err(error) => log::warn!("cannot run fix-perms: {error}; run: fix-perms --only workspace"),
        }
    }

    /// Replaces the stage's result in the journal.
    fn record_failure(&self, cause: String, hint: Option<&str>, is_retried: bool) {
        let mut hint = hint.unwrap_or("see: workspace-sync status").to_owned();
        if is_retried {
            let pause = kit::duration::words(self.pause.as_secs());
            hint.extend(["; retried automatically, next attempt in ", &pause]);
        }
        let is_known = |end: StageRun| {
            end.result == Some(StageResult::Failed)
                && (end.cause.as_ref(), end.hint.as_ref()) == (Some(&cause), Some(&hint))
        };
        if !end(self.journal).is_some_and(is_known) {
            log::warn!("{}; {hint}", escape_control_line(&cause));
            record(self.journal, StageResult::Failed, Some(cause), Some(hint));
        }
    }
}

/// Replaces the stage's result in the journal after a `run` without failures; `remark` is its cause and hint. Does
/// nothing before late boot's own run has ended.
pub fn record_success(journal: &Journal, remark: Option<(String, Option<String>)>) {
    let (cause, hint) = remark.map_or((None, None), |(cause, hint)| (Some(cause), hint));
    let Some(known) = end(journal) else { return };
    let is_over = match known.result {
        Some(StageResult::Failed) => true,
        Some(StageResult::Done) => known.cause != cause,
        _ => false,
    };
    if is_over {
        if known.result == Some(StageResult::Failed) {
            log::info!("all trees succeeded");
        }
        record(journal, StageResult::Done, cause, hint);
    }
}

/// Returns the stage's result, if it has ended.
fn end(journal: &Journal) -> Option<StageRun> {
    Timeline::from_entries(&journal.read().ok()?)
        .stage_run(Stage::Sync)
        .filter(|course| course.result.is_some())
        .cloned()
}

fn record(journal: &Journal, result: StageResult, cause: Option<String>, hint: Option<String>) {
    let event = Event::StageEnded { stage: Stage::Sync, result, cause, hint };
    if let Err(error) = journal.append(event) {
        log::warn!("{error:#}");
    }
}
