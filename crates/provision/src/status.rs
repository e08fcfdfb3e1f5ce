//! `provision status`: the configured script, the last run and its result.

use std::io::{self, Write};
use std::path::PathBuf;

use anyhow::Result;
use kit::{Env, Exit};
use serde::Serialize;

use crate::cli::Cli;
use crate::lock::Lock;
use crate::source;
use crate::state::{Rejection, RunRecord, StateDirectory};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// No script has run yet.
    Never,
    /// A script is being fetched, runs or is being ended.
    Running,
    /// The last run succeeded.
    Well,
    /// The last run failed.
    Failed,
    /// The configured script was not run.
    Rejected,
    /// The last run was interrupted, without a record of its end.
    Interrupted,
    /// The last run has started, and this account may not see if it is still running.
    Unknown,
}

/// Object that `--json` prints.
#[derive(Debug, PartialEq, Eq, Serialize)]
struct Status {
    /// State of the script.
    state: State,
    /// Address or path of the configured script.
    #[serde(skip_serializing_if = "Option::is_none")]
    asked_for: Option<String>,
    /// Problem of the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    problem: Option<String>,
    /// Reason for which the configured script did not run after the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    rejected: Option<Rejection>,
    /// Last run.
    #[serde(skip_serializing_if = "Option::is_none")]
    last: Option<RunRecord>,
    /// Path of the log with the script's output.
    log: PathBuf,
}

/// Runs the subcommand.
pub fn run(cli: &Cli, json: bool) -> kit::Outcome {
    let status = status(cli)?;
    let mut out = io::stdout().lock();
    if json {
        serde_json::to_writer(&mut out, &status).map_err(io::Error::from)?;
        writeln!(out)?;
    } else {
        out.write_all(text(&status).as_bytes())?;
    }
    Ok(Exit::Done)
}

fn status(cli: &Cli) -> Result<Status> {
    let env = env_store::session_env(Env::from_process(), &cli.store);
    let (asked_for, problem) = match source::requested(&env, &cli.mounted) {
        Ok(wish) => (wish.map(|wish| wish.source.to_string()), None),
        Err(failure) => (None, Some(failure.cause)),
    };
    let place = StateDirectory::new(&cli.state);
    let held = Lock::is_held(&place.lock());
    let last = place.last_run()?;
    let mut state = state(held, last.as_ref());
    // Without a configured script, a rejection is out of date.
    let rejected = place.rejection().filter(|_| asked_for.is_some() && state != State::Running);
    if rejected.is_some() {
        state = State::Rejected;
    }
    Ok(Status { state, asked_for, problem, rejected, last, log: cli.log.clone() })
}

/// Returns the state; `held` is whether the lock is held, if that can be read.
fn state(held: Option<bool>, last: Option<&RunRecord>) -> State {
    match last {
        _ if held == Some(true) => State::Running,
        None => State::Never,
        Some(last) if last.succeeded() => State::Well,
        Some(last) if last.ended.is_some() => State::Failed,
        Some(_) if held.is_none() => State::Unknown,
        Some(_) => State::Interrupted,
    }
}

fn text(status: &Status) -> String {
    let asked = status.asked_for.as_deref().or(status.problem.as_deref()).unwrap_or("nothing");
    let state = match status.state {
        State::Never => "has not run",
        State::Running => "running",
        State::Well => "exited successfully",
        State::Failed => "failed; it is retried at the next start",
        State::Rejected => "could not be run; it is retried at the next start",
        State::Interrupted => "was interrupted; it is retried at the next start",
        State::Unknown => "cannot tell whether it is running; run this as root or the system user",
    };
    let mut rows = vec![("asked for", asked.to_owned()), ("state", state.to_owned())];
    if let Some(rejected) = &status.rejected {
        rows.push(("not run", format!("{}: {}", rejected.at, rejected.cause)));
    }
    if let Some(last) = &status.last {
        rows.extend([
            (if status.rejected.is_some() { "last run" } else { "script" }, last.source.clone()),
            ("sha256", last.digest.clone()),
            ("began", last.began.clone()),
        ]);
        if let Some(ended) = &last.ended {
            rows.push(("ended", ended.at.clone()));
            rows.extend(ended.exit_code.map(|code| ("exit code", code.to_string())));
            rows.extend(ended.signal.map(|signal| ("signal", signal.to_string())));
            rows.extend(ended.cause.clone().map(|cause| ("cause", cause)));
        }
    }
    rows.push(("log", status.log.display().to_string()));
    let lines = rows.iter().map(|(name, value)| format!("{name:<11}{}", kit::quote::escape_control(value)));
    lines.chain([String::new()]).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::RunEnd;

    #[test]
    fn a_record_without_an_end_is_running_or_was_cut_short() {
        let mut record = RunRecord {
            source: "s".into(),
            digest: "d".into(),
            began: "t".into(),
            attempt: None,
            ended: None,
        };
        for (held, of_none, of_begun) in [
            (Some(false), State::Never, State::Interrupted),
            (Some(true), State::Running, State::Running),
            (None, State::Never, State::Unknown),
        ] {
            assert_eq!((state(held, None), state(held, Some(&record))), (of_none, of_begun));
        }
        let mut ended = RunEnd { at: "u".into(), exit_code: Some(0), signal: None, cause: None };
        record.ended = Some(ended.clone());
        assert_eq!(state(Some(false), Some(&record)), State::Well);
        assert_eq!(state(None, Some(&record)), State::Well);
        ended.cause = Some("x".into());
        record.ended = Some(ended);
        assert_eq!(state(Some(false), Some(&record)), State::Failed);
        let status = Status {
            state: State::Failed,
            asked_for: Some("s".into()),
            problem: None,
            rejected: None,
            last: Some(record),
            log: "/l".into(),
        };
        assert_eq!(
            text(&status),
            "asked for  s\nstate      failed; it is retried at the next start\nscript     s\nsha256     d\nbegan      t\nended      u\nexit code  0\ncause      x\nlog        /l\n"
        );
    }
}
