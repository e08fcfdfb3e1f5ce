//! Telling what happens, everywhere it is looked for: the log, the boot journal, and whoever called.

use std::path::Path;
use std::time::{Duration, Instant, SystemTime};

use anyhow::Result;
use journal::{Event, Journal, Stage, StageResult, Timeline};
use kit::clock;
use kit::logging::escape_control;

use crate::log_file::LogFile;
use crate::redact::Redactor;
use crate::report::{Report, ReportOutcome};

/// Between two looks at what the script printed last.
const BETWEEN_NOTES: Duration = Duration::from_secs(5);
/// How much of a line a note shows, in characters.
const NOTE: usize = 200;

/// The log, the journal and standard error.
#[derive(Debug)]
pub struct ProgressReporter {
    pub log: LogFile,
    journal: Journal,
    pub redactor: Redactor,
    /// Whether standard error is the log already.
    silent: bool,
    noted: Option<(Instant, String)>,
    between: Duration,
    journal_works: bool,
}

impl ProgressReporter {
    /// Tells; secrets are masked in everything.
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

    /// A step of our own: a line in the log, and for who called.
    pub fn log_step(&mut self, text: &str) {
        let text = self.redactor.redact_text(&escape_control(text)).replace('\n', " ");
        let line = format!("{} provision: {text}\n", clock::written(SystemTime::now()));
        self.log.write(line.as_bytes());
        if !self.silent {
            print_step(&text);
        }
    }

    /// What is being done at the moment, in our own words.
    pub fn note(&mut self, text: &str) {
        let note = self.noting(text);
        let result = self.journal.append(note);
        self.warn_once(result);
    }

    /// The same for the script's last line: only when it has changed, not too often, and for those who may read the log.
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
            // Once: whoever runs this by hand may have no journal.
            self.journal_works = false;
            log::debug!("{error:#}");
        }
    }

    /// Corrects what late boot said about this stage, if that has ended: a person has run the script anew.
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

    /// When the next line may be noted, from now.
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
