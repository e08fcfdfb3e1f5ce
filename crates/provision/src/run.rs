//! `provision run`: fetches the configured script, runs it and reports the result.

use std::io::{self, Write};
use std::os::unix::process::ExitStatusExt;
use std::process::ExitStatus;
use std::time::{Duration, Instant, SystemTime};

use anyhow::anyhow;
use kit::quote::escape_control;
use kit::system_account::Account;
use kit::{Env, Exit, SettingsReader, duration, rfc3339, variables};
use redact::Redactor;

use crate::cli::{Cli, RunOptions};
use crate::decision::{Decision, decide};
use crate::failure::Failure;
use crate::launch;
use crate::line_assembler::LineAssembler;
use crate::lock::Lock;
use crate::log_file::LogFile;
use crate::progress_reporter::{ProgressReporter, print_step};
use crate::report::{Report, ReportOutcome};
use crate::script_process::{self, ScriptEnd, ScriptTask};
use crate::session_environment::session_environment;
use crate::shebang;
use crate::source::{self, Script, ScriptRequest, Source};
use crate::state::{Rejection, RunEnd, RunRecord, StateDirectory};
use crate::time_limits::TimeLimits;
use crate::verdict::failure_of;
use workspace::Workspace;

/// Maximum length of the last line in a message, in characters.
const MAX_LAST_LINE: usize = 120;

/// Runs the subcommand.
pub fn run(cli: &Cli, task: &RunOptions) -> kit::Outcome {
    // Fails only if one is installed already.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let env = session_environment(cli)?;
    if task.dry_run {
        return dry_run(cli, task, &env);
    }
    let report = match source::requested(&env, &cli.mounted) {
        Ok(None) => Report::new(ReportOutcome::None),
        _ if !nix::unistd::geteuid().is_root() => Report::new(ReportOutcome::None).failed(Failure::new(
            "a script can only be run by root, who becomes the system user",
            "run: sudo provision run",
        )),
        request => {
            let secrets = match &request {
                Ok(Some(request)) => request.source.secrets(),
                _ => Vec::new(),
            };
            let log = LogFile::open(&cli.log, task.log_limit);
            let lines = LineAssembler::new(Redactor::new(&env, secrets.clone())?);
            let progress =
                ProgressReporter::new(log, &task.journal, Redactor::new(&env, secrets)?, task.time_divisor);
            Provision { cli, task, env: &env, progress, has_lock: false }.run_request(request, lines)
        }
    };
    let exit = if report.outcome == ReportOutcome::Failed { Exit::No } else { Exit::Done };
    let mut out = io::stdout().lock();
    if task.json {
        serde_json::to_writer(&mut out, &report).map_err(io::Error::from)?;
        writeln!(out)?;
    } else if report.outcome == ReportOutcome::Failed {
        let error = anyhow!(report.summary_line());
        return Err(match report.hint {
            Some(hint) => kit::exit::with_hint(error, hint),
            None => error,
        });
    } else {
        writeln!(out, "{}", report.summary_line())?;
    }
    Ok(exit)
}

/// Fetches and checks the script, and prints whether it would run. Writes nothing, and works without root.
fn dry_run(cli: &Cli, task: &RunOptions, env: &Env) -> kit::Outcome {
    let secrets = match source::requested(env, &cli.mounted) {
        Ok(Some(request)) => request.source.secrets(),
        _ => Vec::new(),
    };
    let redactor = Redactor::new(env, secrets)?;
    match would_do(cli, task, env, &redactor) {
        Ok(answer) => {
            writeln!(io::stdout(), "{}", escape_control(&redactor.redact_text(&answer)))?;
            Ok(Exit::Done)
        }
        Err(Failure { cause, hint, .. }) => {
            let error = anyhow!(redactor.redact_text(&cause));
            Err(kit::exit::with_hint(error, redactor.redact_text(&hint)))
        }
    }
}

fn would_do(cli: &Cli, task: &RunOptions, env: &Env, redactor: &Redactor) -> Result<String, Failure> {
    let Some(request) = source::requested(env, &cli.mounted)? else {
        return Ok("would not run: no script is configured".to_owned());
    };
    let (workspace, _) = Workspace::from_env(env);
    if workspace.is_update_locked().map_err(|error| Failure::internal(&error))? {
        return Ok(format!("would not run: {} exists", workspace.update_lock().display()));
    }
    let mut progress = |text: &str| print_step(&redactor.redact_text(&escape_control(text)));
    let script = source::load_script(&request, env, &TimeLimits::new(task.time_divisor), &mut progress)?;
    shebang::has_interpreter(&script.bytes)?;
    let last = match StateDirectory::new(&cli.state).last_run() {
        Err(error) if !task.force => return Err(Failure::unreadable_record(&error)),
        last => last.ok().flatten(),
    };
    let shown = format!("{} (sha256 {})", request.source, script.digest);
    Ok(match decide(last.as_ref(), &script.digest, None, task.force) {
        Decision::Run(why) => format!("would run {shown}: {why}"),
        Decision::Unchanged | Decision::HasFailed => {
            format!("would not run {shown}: it has already run successfully")
        }
    })
}

struct Provision<'a> {
    cli: &'a Cli,
    task: &'a RunOptions,
    env: &'a Env,
    progress: ProgressReporter,
    /// True once this process holds the lock, so that its result replaces an earlier one.
    has_lock: bool,
}

impl Provision<'_> {
    fn run_request(
        mut self,
        request: Result<Option<ScriptRequest>, Failure>,
        lines: LineAssembler,
    ) -> Report {
        let mut report = Report::new(ReportOutcome::Failed);
        let done = match request {
            Ok(Some(request)) => {
                // It is also stored in a file that everybody can read.
                report.source = Some(self.progress.redactor.redact_text(&request.source.to_string()));
                self.run_locked(&request, lines, &mut report)
            }
            Ok(None) => Ok(()),
            Err(failure) => Err(failure),
        };
        if let Err(failure) = done {
            report = report.failed(failure);
        }
        let report = report.without_secrets(&self.progress.redactor);
        if self.has_lock {
            self.progress.correct_journal(&report);
            if let Err(error) = self.set_rejection(&report) {
                self.progress.log_step(&format!("warning: {error:#}"));
            }
        }
        if report.outcome == ReportOutcome::Failed {
            let cause = report.full_cause().unwrap_or_default();
            self.progress.log_step(&format!("failed: {cause}"));
            if let Some(hint) = report.hint.clone() {
                self.progress.log_step(&format!("hint: {hint}"));
            }
        }
        report
    }

    /// Stores the reason for which a script did not run, for `provision status`.
    fn set_rejection(&self, report: &Report) -> anyhow::Result<()> {
        let directory = StateDirectory::new(&self.cli.state);
        let has_run = report.seconds.is_some() || report.exit_code.is_some() || report.signal.is_some();
        match (report.outcome, &report.cause) {
            (ReportOutcome::Failed, Some(cause)) if !has_run => {
                let at = rfc3339::seconds(SystemTime::now());
                directory.set_rejection(Some(&Rejection { at, cause: cause.clone() }))
            }
            // The host is gone, so nothing is known about the script.
            (ReportOutcome::Unchanged, Some(_)) => Ok(()),
            _ => directory.set_rejection(None),
        }
    }

    fn run_locked(
        &mut self,
        request: &ScriptRequest,
        lines: LineAssembler,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let (workspace, _) = Workspace::from_env(self.env);
        if workspace.is_update_locked().map_err(|error| Failure::internal(&error))? {
            let lock = workspace.update_lock().display().to_string();
            report.outcome = ReportOutcome::Locked;
            report.cause = Some(format!("{lock} is there"));
            report.hint = Some(format!("remove {lock}, then run: supervisorctl restart boot"));
            self.progress.log_step(&format!("not run, because {lock} is there"));
            return Ok(());
        }
        let directory = StateDirectory::new(&self.cli.state);
        directory.prepare().map_err(|error| Failure::internal(&error))?;
        let lock = Lock::acquire(&directory.lock(), self.task.wait).map_err(|error| {
            Failure::new(format!("{error:#}"), "wait for it to end; see: provision status")
        })?;
        self.has_lock = true;
        let last = self.last(&directory)?;
        if request.passed_over {
            let mounted = self.cli.mounted.display();
            self.progress.log_step(&format!("PROVISIONING_SCRIPT is set; ignoring {mounted}"));
        }
        let Some(script) = self.script(request, last.as_ref(), report)? else { return Ok(()) };
        report.digest = Some(script.digest.clone());
        match decide(last.as_ref(), &script.digest, self.task.attempt.as_deref(), self.task.force) {
            Decision::Unchanged => {
                self.progress.log_step("this script has already run successfully; skipped");
                report.outcome = ReportOutcome::Unchanged;
                Ok(())
            }
            Decision::HasFailed => {
                self.progress.log_step("this script has already failed in this late boot; skipped");
                if let Some(earlier) = self.earlier(last) {
                    *report = earlier;
                }
                Ok(())
            }
            Decision::Run(why) => {
                let own_interpreter = shebang::has_interpreter(&script.bytes)?;
                self.progress.log_step(&format!("running, {why}"));
                self.run(&directory, &lock, &script, own_interpreter, lines, report)
            }
        }
    }

    /// Returns the report of a run in the same attempt.
    fn earlier(&self, last: Option<RunRecord>) -> Option<Report> {
        last?.report_of(self.task.attempt.as_deref(), &self.cli.log)
    }

    /// Returns the last run. An unreadable record may be of a successful run, so only `--force` ignores it.
    fn last(&mut self, directory: &StateDirectory) -> Result<Option<RunRecord>, Failure> {
        match directory.last_run() {
            Ok(last) => Ok(last),
            Err(error) if self.task.force => {
                self.progress.log_step(&format!("warning: {error:#}; run because of --force"));
                Ok(None)
            }
            Err(error) => Err(Failure::unreadable_record(&error)),
        }
    }

    /// Fetches the script; nothing if it is not to be run, with the reason in the report.
    fn script(
        &mut self,
        request: &ScriptRequest,
        last: Option<&RunRecord>,
        report: &mut Report,
    ) -> Result<Option<Script>, Failure> {
        let succeeded = last.filter(|last| last.succeeded() && !self.task.force);
        if let (Some(succeeded), Some(digest)) = (succeeded, &request.digest)
            && succeeded.digest == *digest
        {
            self.progress.log_step(
                "the script with this PROVISIONING_SCRIPT_SHA256 has already run successfully; skipped",
            );
            report.outcome = ReportOutcome::Unchanged;
            report.digest = Some(digest.clone());
            return Ok(None);
        }
        if let Source::Address(address) = &request.source {
            self.progress.log_step(&format!("fetching {address}"));
            self.progress.note(&format!("fetching {address}"));
        }
        let limits = TimeLimits::new(self.task.time_divisor);
        match source::load_script(request, self.env, &limits, &mut |text| self.progress.log_step(text)) {
            Ok(script) => Ok(Some(script)),
            // A restarted container does not depend on a host that it no longer needs.
            Err(failure)
                if failure.unreachable
                    && succeeded
                        .is_some_and(|succeeded| Some(&succeeded.source) == report.source.as_ref()) =>
            {
                let cause = format!("cannot check for changes: {}", failure.cause);
                self.progress.log_step(&format!(
                    "warning: {cause}; the last script from there exited successfully and is not run again"
                ));
                report.outcome = ReportOutcome::Unchanged;
                report.digest = succeeded.map(|succeeded| succeeded.digest.clone());
                report.cause = Some(cause);
                report.hint = Some(failure.hint);
                Ok(None)
            }
            Err(failure) => Err(failure),
        }
    }

    fn run(
        &mut self,
        directory: &StateDirectory,
        lock: &Lock,
        script: &Script,
        own_interpreter: bool,
        lines: LineAssembler,
        report: &mut Report,
    ) -> Result<(), Failure> {
        let account = Account::of(self.env).map_err(|error| Failure::internal(&error))?;
        let limit = self.limit();
        directory.store_script(&script.bytes, account.gid).map_err(|error| Failure::internal(&error))?;
        // From here on, a signal ends the script before this process.
        let signals = script_process::signals().map_err(|error| Failure::internal(&error))?;
        let record = RunRecord {
            source: report.source.clone().unwrap_or_default(),
            digest: script.digest.clone(),
            began: rfc3339::seconds(SystemTime::now()),
            attempt: self.task.attempt.clone(),
            ended: None,
        };
        let unfinished = directory.record_start(&record).map_err(|error| Failure::internal(&error))?;
        let started = Instant::now();
        self.progress.note("running");
        let task = ScriptTask {
            account: &account,
            script: &directory.script(),
            own_interpreter,
            env: &launch::environment(self.env, &account),
            limit,
            time_divisor: self.task.time_divisor,
        };
        let mut unfinished = Some(unfinished);
        let mut noted = Ok(());
        let mut failure = None;
        let mut note = |status: ExitStatus, stop| {
            report.seconds = Some(started.elapsed().as_secs());
            (report.exit_code, report.signal) = (status.code(), status.signal());
            failure = failure_of(status, stop, limit, &self.cli.log);
            let ended = RunEnd {
                at: rfc3339::seconds(SystemTime::now()),
                exit_code: report.exit_code,
                signal: report.signal,
                cause: failure.as_ref().map(|failure| failure.cause.clone()),
            };
            noted = unfinished.take().map_or(Ok(()), |unfinished| unfinished.record_end(ended));
        };
        let finish = script_process::run(&task, lock, &signals, lines, &mut self.progress, &mut note)
            .map_err(|error| Failure::internal(&error))?;
        self.conclude(report, &finish, failure);
        lock.release();
        noted.map_err(|error| Failure::internal(&error))
    }

    /// Reads the time limit. An invalid one is ignored, because ending a script half-way is the greater harm.
    fn limit(&mut self) -> Option<Duration> {
        let mut reader = SettingsReader::new(self.env);
        let limit = reader.duration_setting(&variables::PROVISIONING_TIMEOUT);
        for problem in reader.into_problems() {
            self.progress.log_step(&format!("warning: {problem}; running without a time limit"));
        }
        limit
    }

    fn conclude(&mut self, report: &mut Report, finish: &ScriptEnd, failure: Option<Failure>) {
        let loss = self.progress.log.loss_message();
        match failure {
            Some(Failure { cause, hint, .. }) => {
                let last_line: String =
                    escape_control(&finish.last_line).chars().take(MAX_LAST_LINE).collect();
                report.outcome = ReportOutcome::Failed;
                report.last_line = Some(last_line).filter(|last_line| !last_line.is_empty());
                report.cause = Some(cause);
                report.hint = Some(hint);
            }
            None => {
                report.outcome = ReportOutcome::Ran;
                let took = duration::words(report.seconds.unwrap_or(0));
                let status = finish.status;
                self.progress.log_step(&format!("exited successfully after {took} ({status})"));
            }
        }
        if let Some(loss) = loss {
            self.progress.log_step(&format!("warning: {loss}"));
            let cause = report.cause.take().map(|cause| format!("{cause}; ")).unwrap_or_default();
            report.cause = Some(format!("{cause}{loss}"));
            report.hint.get_or_insert_with(|| "free up disk space; see: df -h".to_owned());
        }
    }
}
