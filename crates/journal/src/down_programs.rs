//! Programs that are down.
//!
//! supervisord's launcher (`images/base/supervisor/supervisord`) replaces `programs.json` beside the journal whenever a program
//! changes its state. Every reader can see it, so none needs rights on supervisord. A program that supervisord may give up is
//! missing there while it is not meant to run.

use std::collections::BTreeMap;
use std::path::Path;

use serde::Deserialize;

use crate::{INPUT, SettingProblem};

/// Seconds after which a restarted program has recovered.
const RECOVERED_AFTER: f64 = 60.0;

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

/// Returns a problem for each program that is down or restarts repeatedly; `now` is in seconds since the Unix epoch.
pub fn down_programs(journal: &Path, now: f64) -> Vec<SettingProblem> {
    // The file is missing before supervisord has started.
    let text = INPUT.read(&journal.with_file_name("programs.json")).unwrap_or_default();
    let programs: BTreeMap<String, Program> = serde_json::from_slice(&text).unwrap_or_default();
    let problems = programs.into_iter().filter_map(|(setting, program)| {
        Some(SettingProblem { message: message(&setting, &program, now)?, setting })
    });
    problems.collect()
}

fn message(name: &str, program: &Program, now: f64) -> Option<String> {
    let Program { failures, log, .. } = program;
    let end = end(program);
    let starts = if *failures < 2 { String::new() } else { format!(" after {failures} starts in a row") };
    let log = if log.is_empty() { String::new() } else { format!("; its log is {log}") };
    match program.state.as_str() {
        // A single exit is resolved by the next start.
        "STARTING" | "RUNNING" | "EXITED" if *failures < 2 || now - program.at > RECOVERED_AFTER => None,
        "STARTING" | "RUNNING" | "EXITED" => Some(format!(
            "the program exited {failures} times in a row ({end}); supervisord restarts it{log}"
        )),
        "BACKOFF" => Some(format!("the program is down{starts} ({end}); supervisord restarts it{log}")),
        "FATAL" => Some(format!(
            "the program is down{starts} ({end}){log}; supervisord no longer restarts it; run: supervisorctl start \
             {name}"
        )),
        "STOPPING" => None,
        "STOPPED" => Some(format!("the program was stopped; to start it, run: supervisorctl start {name}")),
        state => Some(format!("the program is down ({state}, {end}); run: supervisorctl start {name}")),
    }
}

/// Describes a program's last exit, with its usual cause.
fn end(Program { end, state, .. }: &Program) -> String {
    match end.as_str() {
        // A shell reports 137 if a program that it started was killed.
        "terminated by SIGKILL" | "exit status 137" => format!("{end}, often because memory was full"),
        "exit status 0" if state == "FATAL" => {
            format!("{end}: it must stay in the foreground, or have startsecs=0 if it runs once")
        }
        end => end.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    const LOG: &str = "; its log is /var/log/supervisor/x.log";

    fn program(state: &str, at: f64, failures: u32) -> Program {
        let log = "/var/log/supervisor/x.log".into();
        Program { state: state.into(), at, failures, end: "exit status 3".into(), log }
    }

    #[test]
    fn what_is_down_or_keeps_ending_is_named_and_what_has_recovered_is_not() {
        let again = format!("; supervisord restarts it{LOG}");
        for (state, at, failures, expected) in [
            ("RUNNING", 99.0, 0, None),
            ("RUNNING", 99.0, 1, None),
            ("RUNNING", 39.0, 7, None),
            ("STOPPING", 99.0, 7, None),
            // Only until its next start.
            ("EXITED", 99.0, 1, None),
            ("RUNNING", 41.0, 2, Some(format!("the program exited 2 times in a row (exit status 3){again}"))),
            (
                "STARTING",
                99.0,
                7,
                Some(format!("the program exited 7 times in a row (exit status 3){again}")),
            ),
            ("BACKOFF", 1.0, 1, Some(format!("the program is down (exit status 3){again}"))),
            (
                "BACKOFF",
                1.0,
                7,
                Some(format!("the program is down after 7 starts in a row (exit status 3){again}")),
            ),
            (
                "STOPPED",
                1.0,
                0,
                Some("the program was stopped; to start it, run: supervisorctl start x".into()),
            ),
            (
                "FATAL",
                1.0,
                4,
                Some(format!(
                    "the program is down after 4 starts in a row (exit status 3){LOG}; supervisord no longer restarts \
                     it; run: supervisorctl start x"
                )),
            ),
            (
                "UNKNOWN",
                1.0,
                0,
                Some("the program is down (UNKNOWN, exit status 3); run: supervisorctl start x".into()),
            ),
        ] {
            assert_eq!(
                message("x", &program(state, at, failures), 100.0),
                expected,
                "{state} {at} {failures}"
            );
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
                "exit status 137",
                "",
                "exit status 137, often because memory was full); supervisord restarts it",
            ),
            ("BACKOFF", "exit status 0", "/l", "exit status 0); supervisord restarts it; its log is /l"),
            (
                "FATAL",
                "exit status 0",
                "/l",
                "exit status 0: it must stay in the foreground, or have startsecs=0 if it runs once); its log is /l; \
                 supervisord no longer restarts it; run: supervisorctl start x",
            ),
        ] {
            let program = Program { end: how.into(), log: log.into(), ..program(state, 1.0, 1) };
            let expected = format!("the program is down ({expected}");
            assert_eq!(message("x", &program, 100.0).unwrap(), expected, "{state} {how}");
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
        let names = |problems: Vec<SettingProblem>| {
            problems.into_iter().map(|problem| problem.setting).collect::<Vec<_>>()
        };
        assert_eq!(names(down_programs(&journal, 2.0)), ["caddy"]);
        fs::write(dir.path().join("programs.json"), &written[..40]).unwrap();
        assert_eq!(down_programs(&journal, 2.0), []);
    }
}
