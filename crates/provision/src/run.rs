//! `provision run`: from what was asked for to how it ended.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use kit::logging::escape_control;
use kit::{Env, Exit, SettingsReader, clock, settings, variables};

use crate::account::Account;
use crate::child::{self, Finish, Task};
use crate::cli::{Cli, Run};
use crate::decision::{Decision, decide};
use crate::environment::complete;
use crate::failure::Failure;
use crate::first_line;
use crate::launch;
use crate::lines::Lines;
use crate::lock::Lock;
use crate::logfile::LogFile;
use crate::redact::Redactor;
use crate::report::{Report, ReportOutcome};
use crate::source::{self, Script, Source, Wish};
use crate::state::{Ended, Place, Record, Rejection};
use crate::teller::Teller;
use crate::time_limits::TimeLimits;
use crate::verdict::failure_of;
use workspace::Workspace;

/// How much of the last line a message repeats, in characters.
const SAID: usize = 120;

/// Runs the subcommand.
pub fn run(cli: &Cli, task: &Run) -> kit::Outcome {
    // Fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let env = complete(cli)?;
    let report = match source::wish(&env, &cli.mounted) {
        Ok(None) => Report::of(ReportOutcome::None),
        _ if !nix::unistd::geteuid().is_root() => Report::of(ReportOutcome::None).failed(Failure::new(
            "a script can only be run by root, who becomes the system user",
            "type: sudo provision run",
        )),
        wish => {
            let secrets = match &wish {
                Ok(Some(Wish { source: Source::Address(address), .. })) => address.secrets(),
                _ => Vec::new(),
            };
            let log = LogFile::open(&cli.log, task.log_limit);
            let lines = Lines::new(Redactor::new(&env, secrets.clone())?);
            let teller = Teller::new(log, &task.journal, Redactor::new(&env, secrets)?, task.hurry);
            Provision { cli, task, env: &env, teller, looked: false }.provide(wish, lines)
        }
    };
    let exit = if report.outcome == ReportOutcome::Failed { Exit::No } else { Exit::Done };
    let mut out = io::stdout().lock();
    if task.json {
        serde_json::to_writer(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if report.outcome == ReportOutcome::Failed {
        let error = anyhow!(report.line());
        return Err(match report.hint {
            Some(hint) => kit::exit::with_hint(error, hint),
            None => error,
        });
    } else {
        writeln!(out, "{}", report.line())?;
    }
    Ok(exit)
}

struct Provision<'a> {
    cli: &'a Cli,
    task: &'a Run,
    env: &'a Env,
    teller: Teller,
    /// Whether it was this process's turn, so that what it says is news.
    looked: bool,
}

impl Provision<'_> {
    fn provide(mut self, wish: Result<Option<Wish>, Failure>, lines: Lines) -> Report {
        let mut report = Report::of(ReportOutcome::Failed);
        let done = match wish {
            Ok(Some(wish)) => {
                // A file has it too, which everybody reads.
                report.source = Some(self.teller.redactor.redact_text(&wish.source.to_string()));
                self.one_at_a_time(&wish, lines, &mut report)
            }
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            report = report.failed(failure);
        }
        let report = report.without_secrets(&self.teller.redactor);
        if self.looked {
            self.teller.correct(&report);
            if let Err(error) = self.note_rejection(&report) {
                self.teller.step(&format!("warning: {error:#}"));
            }
        }
        if report.outcome == ReportOutcome::Failed {
            let cause = report.whole_cause().unwrap_or_default();
            self.teller.step(&format!("failed: {cause}"));
            if let Some(hint) = report.hint.clone() {
                self.teller.step(&format!("hint: {hint}"));
            }
        }
        report
    }

    /// For `provision status`: the record is about what ran, and this script did not.
    fn note_rejection(&self, report: &Report) -> anyhow::Result<()> {
        let place = Place::at(&self.cli.state);
        let has_run = report.seconds.is_some() || report.exit_code.is_some() || report.signal.is_some();
        match (report.outcome, &report.cause) {
            (ReportOutcome::Failed, Some(cause)) if !has_run => {
                let at = clock::written(SystemTime::now());
                place.note_rejection(Some(&Rejection { at, cause: cause.clone() }))
            }
            // Nothing is known about it.
            (ReportOutcome::Unchanged, Some(_)) => Ok(()),
            _ => place.note_rejection(None),
        }
    }

    fn one_at_a_time(&mut self, wish: &Wish, lines: Lines, report: &mut Report) -> Result<(), Failure> {
        let (workspace, _) = Workspace::from_env(self.env);
        if workspace.is_update_locked().map_err(|error| Failure::internal(&error))? {
            let lock = workspace.update_lock().display().to_string();
            report.outcome = ReportOutcome::Locked;
            report.cause = Some(format!("{lock} is there"));
            report.hint = Some(format!("remove {lock}, then type: supervisorctl restart boot"));
            self.teller.step(&format!("not run, because {lock} is there"));
            return Ok(());
        }
        let place = Place::at(&self.cli.state);
        place.prepare().map_err(|error| Failure::internal(&error))?;
        let lock = Lock::take(&place.lock(), self.task.wait).map_err(|error| {
            Failure::new(format!("{error:#}"), "wait for it, or look at it: provision status")
        })?;
        self.looked = true;
        let last = self.last(&place)?;
        if wish.passed_over {
            let mounted = self.cli.mounted.display();
            self.teller.step(&format!("PROVISIONING_SCRIPT is set, so {mounted} is passed over"));
        }
        let Some(script) = self.script(wish, last.as_ref(), report)? else { return Ok(()) };
        report.digest = Some(script.digest.clone());
        match decide(last.as_ref(), &script.digest, self.task.attempt.as_deref(), self.task.force) {
            Decision::Unchanged => {
                self.teller.step("this very script has ended well before: not run again");
                report.outcome = ReportOutcome::Unchanged;
                Ok(())
            }
            Decision::HasFailed => {
                self.teller.step("this very script has failed since this start of late boot: not run again");
                if let Some(earlier) = self.earlier(last) {
                    *report = earlier;
                }
                Ok(())
            }
            Decision::Run(why) => {
                let own_interpreter = first_line::names_interpreter(&script.bytes)?;
                self.teller.step(&format!("running, {why}"));
                self.run(&place, &lock, &script, own_interpreter, lines, report)
            }
        }
    }

    /// How a run of the same attempt ended.
    fn earlier(&self, last: Option<Record>) -> Option<Report> {
        last?.report_of(self.task.attempt.as_deref(), &self.cli.log)
    }

    /// The last run. A record that cannot be understood may be of a script that has ended well: only force runs it again.
    fn last(&mut self, place: &Place) -> Result<Option<Record>, Failure> {
        match place.last() {
            Ok(last) => Ok(last),
            Err(error) if self.task.force => {
                self.teller.step(&format!("warning: {error:#}; run because of --force"));
                Ok(None)
            }
            Err(error) => Err(Failure::new(
                format!("{error:#}; a script may have ended well before, so nothing is run"),
                "to run it all the same: sudo provision run --force",
            )),
        }
    }

    /// Gets the script; nothing if there is nothing to run, which the report then says.
    fn script(
        &mut self,
        wish: &Wish,
        last: Option<&Record>,
        report: &mut Report,
    ) -> Result<Option<Script>, Failure> {
        let well = last.filter(|last| last.ended_well() && !self.task.force);
        if let (Some(well), Some(digest)) = (well, &wish.digest)
            && well.digest == *digest
        {
            self.teller.step(
                "the script that PROVISIONING_SCRIPT_SHA256 names has ended well before: not run again",
            );
            report.outcome = ReportOutcome::Unchanged;
            report.digest = Some(digest.clone());
            return Ok(None);
        }
        if let Source::Address(address) = &wish.source {
            self.teller.step(&format!("fetching {address}"));
            self.teller.note(&format!("fetching {address}"));
        }
        let limits = TimeLimits::new(self.task.hurry);
        match source::script(wish, self.env, &limits, &mut |text| self.teller.step(text)) {
            Ok(script) => Ok(Some(script)),
            // A container that starts again does not depend on a host that it has no more need of.
            Err(failure)
                if failure.unreachable
                    && well.is_some_and(|well| Some(&well.source) == report.source.as_ref()) =>
            {
                let cause = format!("cannot see whether it has changed: {}", failure.cause);
                self.teller.step(&format!(
                    "warning: {cause}; what came from there before has ended well: not run again"
                ));
                report.outcome = ReportOutcome::Unchanged;
                report.digest = well.map(|well| well.digest.clone());
                report.cause = Some(cause);
                report.hint = Some(failure.hint);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn run(
        &mut self,
        place: &Place,
        lock: &Lock,
        script: &Script,
        own_interpreter: bool,
        lines: Lines,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let account = Account::of(self.env).map_err(|error| Failure::internal(&error))?;
        let limit = self.limit();
        place.keep(&script.bytes, account.gid).map_err(|error| Failure::internal(&error))?;
        // From here on a signal is answered by ending the script, and not by leaving it alone.
        let signals = child::signals().map_err(|error| Failure::internal(&error))?;
        let record = Record {
            source: report.source.clone().unwrap_or_default(),
            digest: script.digest.clone(),
            began: clock::written(SystemTime::now()),
            attempt: self.task.attempt.clone(),
            ended: None,
        };
        let begun = place.begin(&record).map_err(|error| Failure::internal(&error))?;
        let started = Instant::now();
        self.teller.note("running");
        let task = Task {
            account: &account,
            script: &place.script(),
            own_interpreter,
            env: &launch::environment(self.env, &account),
            limit,
            hurry: self.task.hurry,
        };
        let mut begun = Some(begun);
        let mut noted = Ok(());
        let mut failure = None;
        let mut note = |status: ExitStatus, stop| {
            report.seconds = Some(started.elapsed().as_secs());
            (report.exit_code, report.signal) = (status.code(), status.signal());
            failure = failure_of(status, stop, limit, &self.cli.log);
            let ended = Ended {
                at: clock::written(SystemTime::now()),
                exit_code: report.exit_code,
                signal: report.signal,
                cause: failure.as_ref().map(|failure| failure.cause.clone()),
            };
            noted = begun.take().map_or(Ok(()), |begun| begun.end(ended));
        };
        let finish = child::run(&task, lock, &signals, lines, &mut self.teller, &mut note)
            .map_err(|error| Failure::internal(&error))?;
        self.conclude(report, &finish, failure);
        lock.release();
        noted.map_err(|error| Failure::internal(&error))
    }

    /// Reads the limit; one that cannot be read is none, because ending a script half-way is the greater harm.
    fn limit(&mut self) -> Option<Duration> {
        let mut reader = SettingsReader::new(self.env);
        let limit = reader.duration_setting(&variables::PROVISIONING_TIMEOUT);
        for problem in reader.into_problems() {
            self.teller.step(&format!("warning: {problem}; the script may take as long as it likes"));
        }
        limit
    }

    fn conclude(&mut self, report: &mut Report, finish: &Finish, failure: Option<Failure>) {
        let loss = self.teller.log.loss();
        match failure {
            Some(Failure { cause, hint, .. }) => {
                let said: String = escape_control(&finish.last_line).chars().take(SAID).collect();
                report.outcome = ReportOutcome::Failed;
                report.said = Some(said).filter(|said| !said.is_empty());
                report.cause = Some(cause);
                report.hint = Some(hint);
            }
            None => {
                report.outcome = ReportOutcome::Ran;
                let took = settings::words(report.seconds.unwrap_or(0));
                let status = finish.status;
                self.teller.step(&format!("ended well after {took} ({status})"));
            }
        }
        if let Some(loss) = loss {
            self.teller.step(&format!("warning: {loss}"));
            let cause = report.cause.take().map(|cause| format!("{cause}; ")).unwrap_or_default();
            report.cause = Some(format!("{cause}{loss}"));
            report.hint.get_or_insert_with(|| "make room, and see what fills the disk: df -h".to_owned());
        }
    }
}
