//! Programs that are down.
//!
//! supervisord's launcher (`images/base/supervisor/supervisord`) replaces `programs.json` beside the journal whenever a program
//! changes its state. Every reader can see it, so none needs rights on supervisord. A program that supervisord may give up is
//! missing there while it is not meant to run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::program_exits::{Cause, ProgramExit, program_exits, with_cause};
use crate::{INPUT, SettingProblem};

/// Seconds after which a restarted program has recovered.
const RECOVERED_AFTER: f64 = 60.0;

/// A program that is down or restarts repeatedly.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DownProgram {
    /// Name as `supervisorctl` has it.
    pub name: String,
    /// Severity of its state.
    pub severity: Severity,
    /// State with its cause, as one sentence.
    pub message: String,
    /// What to do; nothing if supervisord restarts it.
    pub remedy: Option<String>,
    /// Path of its log.
    pub log: Option<String>,
}

/// Severity of a problem.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Severity {
    /// The program does not do its work.
    Error,
    /// It works at the moment, or was stopped by a user.
    Warning,
}

impl From<DownProgram> for SettingProblem {
    fn from(program: DownProgram) -> Self {
        let DownProgram { name, message, remedy, log, .. } = program;
        let log = log.map(|log| format!("; its log is {log}")).unwrap_or_default();
        let remedy = remedy.map(|remedy| format!("; {remedy}")).unwrap_or_default();
        Self { setting: name, message: format!("{message}{log}{remedy}") }
    }
}

/// Returns the name of a log for `logtail` and the portal; `None` for a log elsewhere.
#[must_use]
pub fn log_name(path: &str) -> Option<&str> {
    let file = path.strip_prefix("/var/log/")?;
    let name = file.strip_prefix("supervisor/").unwrap_or(file).strip_suffix(".log")?;
    (!name.is_empty() && !name.contains('/')).then_some(name)
}

#[derive(Debug, Deserialize)]
struct Program {
    /// State name of supervisord.
    state: String,
    /// Time at which it entered that state, in seconds since the Unix epoch.
    at: f64,
    /// Number of consecutive exits, each within a minute of the start before it.
    failures: u32,
    /// Description of its last exit; empty if it has not exited.
    end: String,
    /// Path of its log; empty if there is no such file.
    log: String,
}

/// A program that alone writes a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogOwner {
    /// Name as `supervisorctl` has it.
    pub name: String,
    /// True if it runs, or supervisord starts it again by itself.
    pub is_active: bool,
}

impl LogOwner {
    /// Returns the action that makes it run anew.
    #[must_use]
    pub fn action(&self) -> &'static str {
        if self.is_active { "restart" } else { "start" }
    }
}

/// Returns the program of each log that belongs to one program alone, by the name that [`log_name`] returns.
pub fn programs_by_log(journal: &Path) -> BTreeMap<String, LogOwner> {
    let mut owners: BTreeMap<String, Option<LogOwner>> = BTreeMap::new();
    for (name, program) in read_programs(journal) {
        if let Some(log) = log_name(&program.log) {
            let is_active = matches!(program.state.as_str(), "STARTING" | "RUNNING" | "BACKOFF" | "STOPPING");
            let owner = LogOwner { name, is_active };
            owners.entry(log.to_owned()).and_modify(|owner| *owner = None).or_insert(Some(owner));
        }
    }
    owners.into_iter().filter_map(|(log, owner)| Some((log, owner?))).collect()
}

/// Returns the states of programs; none before supervisord has started.
fn read_programs(journal: &Path) -> BTreeMap<String, Program> {
    let text = INPUT.read(&journal.with_file_name("programs.json")).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Returns the programs that are down or restart repeatedly; `now` is in seconds since the Unix epoch.
pub fn down_programs(journal: &Path, now: f64) -> Vec<DownProgram> {
    let exits = program_exits(journal);
    let down = read_programs(journal).into_iter().filter_map(|(name, program)| {
        let exit = exits.get(&name);
        down(name, &program, exit, now)
    });
    down.collect()
}

fn down(name: String, program: &Program, exit: Option<&ProgramExit>, now: f64) -> Option<DownProgram> {
    let Program { failures, log, .. } = program;
    let end = end(program, exit);
    let starts = if *failures < 2 { String::new() } else { format!(" after {failures} starts in a row") };
    let start = format!("run: supervisorctl start {name}");
    let (severity, message, remedy) = match program.state.as_str() {
        // A single exit is resolved by the next start.
        "STARTING" | "RUNNING" | "EXITED" if *failures < 2 || (now - program.at).abs() > RECOVERED_AFTER => {
            return None;
        }
        "STARTING" | "RUNNING" | "EXITED" => {
            let message =
                format!("the program exited {failures} times in a row ({end}); supervisord restarts it");
            (Severity::Warning, message, None)
        }
        "BACKOFF" => {
            (Severity::Error, format!("the program is down{starts} ({end}); supervisord restarts it"), None)
        }
        "FATAL" => {
            let message = format!("the program is down{starts} ({end}); supervisord no longer restarts it");
            (Severity::Error, message, Some(start))
        }
        "STOPPING" => return None,
        "STOPPED" => {
            (Severity::Warning, "the program was stopped".to_owned(), Some(format!("to start it, {start}")))
        }
        state => (Severity::Error, format!("the program is down ({state}, {end})"), Some(start)),
    };
    let stopped = program.state == "STOPPED";
    let log = Some(log.clone()).filter(|log| !log.is_empty() && !stopped);
    Some(DownProgram { name, severity, message, remedy, log })
}

/// Describes a program's last exit, with its cause.
fn end(Program { end, state, .. }: &Program, exit: Option<&ProgramExit>) -> String {
    if end == "exit code 0" && state == "FATAL" {
        return format!("{end}: it must stay in the foreground, or have startsecs=0 if it runs once");
    }
    let (cause, limit) =
        exit.filter(|exit| exit.end == *end).map_or((Cause::Unknown, 0), |exit| (exit.cause, exit.limit));
    with_cause(end, cause, limit)
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOG: &str = "; its log is /var/log/supervisor/x.log";

    fn program(state: &str, at: f64, failures: u32) -> Program {
        let log = "/var/log/supervisor/x.log".into();
        Program { state: state.into(), at, failures, end: "exit code 3".into(), log }
    }

    /// Returns the severity and the whole text about a program, 100 seconds after the epoch.
    fn about(program: &Program, exit: Option<&ProgramExit>) -> Option<(Severity, String)> {
        let down = down("x".into(), program, exit, 100.0)?;
        Some((down.severity, SettingProblem::from(down).message))
    }

    #[test]
    fn what_is_down_or_keeps_ending_is_named_and_what_has_recovered_is_not() {
        use Severity::{Error, Warning};
        let again = format!("; supervisord restarts it{LOG}");
        for (state, at, failures, expected) in [
            ("RUNNING", 99.0, 0, None),
            ("RUNNING", 99.0, 1, None),
            ("RUNNING", 39.0, 7, None),
            // The clock was set back since.
            ("RUNNING", 900.0, 7, None),
            ("STOPPING", 99.0, 7, None),
            // Only until its next start.
            ("EXITED", 99.0, 1, None),
            (
                "RUNNING",
                41.0,
                2,
                Some((Warning, format!("the program exited 2 times in a row (exit code 3){again}"))),
            ),
            (
                "STARTING",
                99.0,
                7,
                Some((Warning, format!("the program exited 7 times in a row (exit code 3){again}"))),
            ),
            ("BACKOFF", 1.0, 1, Some((Error, format!("the program is down (exit code 3){again}")))),
            (
                "BACKOFF",
                1.0,
                7,
                Some((Error, format!("the program is down after 7 starts in a row (exit code 3){again}"))),
            ),
            (
                "STOPPED",
                1.0,
                0,
                Some((Warning, "the program was stopped; to start it, run: supervisorctl start x".into())),
            ),
            (
                "FATAL",
                1.0,
                4,
                Some((
                    Error,
                    format!(
                        "the program is down after 4 starts in a row (exit code 3); supervisord no longer restarts \
                         it{LOG}; run: supervisorctl start x"
                    ),
                )),
            ),
            (
                "UNKNOWN",
                1.0,
                0,
                Some((
                    Error,
                    format!("the program is down (UNKNOWN, exit code 3){LOG}; run: supervisorctl start x"),
                )),
            ),
        ] {
            assert_eq!(about(&program(state, at, failures), None), expected, "{state} {at} {failures}");
        }
    }

    #[test]
    fn an_unclear_exit_is_explained_and_a_missing_log_is_not_named() {
        for (state, how, log, expected) in [
            (
                "BACKOFF",
                "terminated by SIGKILL",
                "",
                "terminated by SIGKILL, often because memory was full); supervisord restarts it",
            ),
            (
                "BACKOFF",
                "exit code 137",
                "",
                "exit code 137, often because memory was full); supervisord restarts it",
            ),
            ("BACKOFF", "exit code 0", "/l", "exit code 0); supervisord restarts it; its log is /l"),
            (
                "FATAL",
                "exit code 0",
                "/l",
                "exit code 0: it must stay in the foreground, or have startsecs=0 if it runs once); supervisord no \
                 longer restarts it; its log is /l; run: supervisorctl start x",
            ),
        ] {
            let program = Program { end: how.into(), log: log.into(), ..program(state, 1.0, 1) };
            let expected = format!("the program is down ({expected}");
            assert_eq!(about(&program, None).unwrap().1, expected, "{state} {how}");
        }
    }

    #[test]
    fn a_log_has_a_name_where_logs_are() {
        for (path, name) in [
            ("/var/log/supervisor/caddy.log", Some("caddy")),
            ("/var/log/sync.log", Some("sync")),
            ("/var/log/nginx/x.log", None),
            ("/var/log/supervisor/.log", None),
            ("/workspace/x.log", None),
        ] {
            assert_eq!(log_name(path), name);
        }
    }

    #[test]
    fn a_recorded_cause_replaces_the_guess_unless_it_is_of_another_exit() {
        let json = r#"{"at":1,"end":"terminated by SIGKILL","started":true,"requested":false,"expected":false,
                       "cause":"memory","limit":1048576,"log":"","log_size":0,"restarts":3}"#;
        let exit: ProgramExit = serde_json::from_str(json).unwrap();
        for (end, text) in [
            (
                "terminated by SIGKILL",
                "terminated by SIGKILL because the container's 1.0 MiB of memory were full",
            ),
            ("exit code 137", "exit code 137, often because memory was full"),
        ] {
            let program = Program { end: end.into(), log: String::new(), ..program("BACKOFF", 1.0, 1) };
            let expected = format!("the program is down ({text}); supervisord restarts it");
            assert_eq!(about(&program, Some(&exit)).unwrap().1, expected);
        }
    }

    #[test]
    fn the_launchers_file_is_read_and_a_missing_or_broken_one_has_no_programs() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("boot.jsonl");
        assert_eq!(down_programs(&journal, 2.0), []);
        let written = "{\"caddy\":{\"state\":\"STOPPED\",\"at\":1.000000,\"failures\":0,\"end\":\"\",\"log\":\"\"},\n\
             \"sshd\":{\"state\":\"RUNNING\",\"at\":1.000000,\"failures\":0,\"end\":\"\",\"log\":\"\"}}\n";
        fs::write(dir.path().join("programs.json"), written).unwrap();
        let names =
            |programs: Vec<DownProgram>| programs.into_iter().map(|program| program.name).collect::<Vec<_>>();
        assert_eq!(names(down_programs(&journal, 2.0)), ["caddy"]);
        let shared = written.replace("\"log\":\"\"", "\"log\":\"/var/log/supervisor/a.log\"");
        let owned = shared.replacen("a.log", "b.log", 1);
        let owners = |text: &str| {
            fs::write(dir.path().join("programs.json"), text).unwrap();
            programs_by_log(&journal)
                .into_iter()
                .map(|(log, owner)| format!("{log}: {} {}", owner.action(), owner.name))
                .collect::<Vec<_>>()
        };
        assert_eq!(
            (owners(&shared), owners(&owned)),
            (vec![], vec!["a: restart sshd".into(), "b: start caddy".into()])
        );
        fs::write(dir.path().join("programs.json"), &written[..40]).unwrap();
        assert_eq!(down_programs(&journal, 2.0), []);
    }
}
