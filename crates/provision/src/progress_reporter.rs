//! Reports progress in the log, in the boot journal and on stderr.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use journal::{Event, Journal, Stage, StageResult, Timeline};
use kit::quote::escape_control;
use kit::rfc3339;
use redact::Redactor;

use crate::log_file::LogFile;
use crate::report::{Report, ReportOutcome};

/// Interval between two notes about the script's last line.
const BETWEEN_NOTES: Duration = Duration::from_secs(5);
/// Maximum length of a note in characters.
const NOTE: usize = 200;

/// Reports to all of them, with secrets masked.
#[derive(Debug)]
pub struct ProgressReporter {
    pub log: LogFile,
    journal: Journal,
    pub redactor: Redactor,
    /// True if stderr is the log already.
    silent: bool,
    noted: Option<(Instant, String)>,
    between: Duration,
    journal_works: bool,
}

impl ProgressReporter {
    pub fn new(log: LogFile, journal: &Path, redactor: Redactor, time_divisor: u32) -> Self {
        let own = nix::sys::stat::fstat(std::io::stderr());
        let silent = own.is_ok_and(|stat| log.is_same_file(stat.st_dev, stat.st_ino));
        Self {
            log,
            journal: Journal::new(journal),
            redactor,
            silent,
            noted: None,
            between: BETWEEN_NOTES / time_divisor.max(1),
            journal_works: true,
        }
    }

    /// Reports a step of `provision` in the log and on stderr.
    pub fn log_step(&mut self, text: &str) {
        let text = self.redactor.redact_text(&escape_control(text)).replace('\n', " ");
        let line = format!("{} provision: {text}\n", rfc3339::seconds(SystemTime::now()));
        self.log.write(line.as_bytes());
        if !self.silent {
            print_step(&text);
        }
    }

    /// Notes the current step in the journal, which everybody can read.
    pub fn note(&mut self, text: &str) {
        let note = self.noting(text);
        let result = self.journal.append(note);
        self.warn_once(result);
    }

    /// Notes the script's last line if it has changed, at most once an interval, for readers of the log only.
    pub fn note_output(&mut self, line: impl FnOnce() -> String) {
        if self.noted.as_ref().is_some_and(|(when, _)| when.elapsed() < self.between) {
            return;
        }
        let line: String = escape_control(&line()).chars().take(NOTE).collect();
        match &mut self.noted {
            Some((when, last)) if line.is_empty() || *last == line => *when = Instant::now(),
            _ => {
                let note = self.noting(&line);
                let result = self.journal.append_restricted(note);
                self.warn_once(result);
            }
        }
    }

    fn noting(&mut self, text: &str) -> Event {
        let message: String = self.redactor.redact_text(&escape_control(text)).chars().take(NOTE).collect();
        self.noted = Some((Instant::now(), message.clone()));
        Event::StageNote { stage: Stage::Provisioning, message }
    }

    fn warn_once(&mut self, result: Result<()>) {
        if let (Err(error), true) = (result, self.journal_works) {
            // Once: outside of late boot there may be no journal.
            self.journal_works = false;
            log::debug!("{error:#}");
        }
    }

    /// Corrects the result of late boot's stage after a run by hand.
    pub fn correct_journal(&mut self, report: &Report) {
        let result = self.correction(report);
        self.warn_once(result);
    }

    fn correction(&self, report: &Report) -> Result<()> {
        let timeline = Timeline::from_entries(&self.journal.read()?);
        let earlier = timeline.stage_run(Stage::Provisioning).and_then(|course| course.result);
        let is_news = match report.outcome {
            ReportOutcome::Ran | ReportOutcome::Failed => earlier.is_some(),
            ReportOutcome::Unchanged => earlier == Some(StageResult::Failed),
            ReportOutcome::None | ReportOutcome::Locked => false,
        };
        if !is_news {
            return Ok(());
        }
        let end = |cause| Event::StageEnded {
            stage: Stage::Provisioning,
            result: report.result(),
            cause,
            hint: report.hint.clone(),
        };
        self.journal.append(end(report.reason()))?;
        if report.last_line.is_some() {
            self.journal.append_restricted(end(report.full_cause()))
        } else {
            Ok(())
        }
    }

    /// Returns the time until the next line may be noted.
    pub fn next_note_in(&self) -> Duration {
        self.noted.as_ref().map_or(self.between, |(when, _)| self.between.saturating_sub(when.elapsed()))
    }
}

/// Prints a step on stderr.
pub fn print_step(text: &str) {
    match text.strip_prefix("warning: ") {
        Some(warning) => log::warn!("{warning}"),
        None => log::info!("{text}"),
    }
}
