//! Programs of the base image that are down.
//!
//! supervisord's launcher (`images/base/supervisor/supervisord`) replaces `programs.json` beside the journal whenever a program
//! that must always run changes its state. Every reader can see it, so none needs rights on supervisord.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::Trouble;

/// A program that runs longer than this has recovered, in seconds.
const STEADY: f64 = 60.0;

#[derive(Debug, Deserialize)]
struct Program {
    /// supervisord's name of the state.
    state: String,
    /// When it entered that state, in seconds since the Unix epoch.
    at: f64,
    /// Ends in a row, each within a minute of the start before it.
    failures: u32,
    /// How it ended last; empty if it has not.
    end: String,
}

/// Returns a message for each program that is down, or that keeps ending; `now` is in seconds since the Unix epoch.
pub fn down(journal: &Path, now: f64) -> Vec<Trouble> {
    // Without the file nothing is known, for example before supervisord has started.
    let text = fs::read(journal.with_file_name("programs.json")).unwrap_or_default();
    let programs: BTreeMap<String, Program> = serde_json::from_slice(&text).unwrap_or_default();
    let troubles = programs.into_iter().filter_map(|(setting, program)| {
        Some(Trouble { message: message(&setting, &program, now)?, setting })
    });
    troubles.collect()
}

fn message(name: &str, program: &Program, now: f64) -> Option<String> {
    let Program { failures, end, .. } = program;
    let log = format!("supervisord starts it again; its log is /var/log/supervisor/{name}.log");
    match program.state.as_str() {
        // A single end is over with the next start.
        "STARTING" | "RUNNING" if *failures < 2 || now - program.at > STEADY => None,
        "STARTING" | "RUNNING" => {
            Some(format!("the program keeps ending, {failures} times in a row ({end}); {log}"))
        }
        "BACKOFF" => Some(match failures {
            0 | 1 => format!("the program is down ({end}); {log}"),
            _ => format!("the program is down after {failures} starts in a row ({end}); {log}"),
        }),
        "STOPPING" => None,
        "STOPPED" => Some(format!("the program was stopped; to start it, type: supervisorctl start {name}")),
        state => Some(format!("the program is down ({state}, {end}); type: supervisorctl start {name}")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_down_or_keeps_ending_is_named_and_what_has_recovered_is_not() {
        let again =
            |name: &str| format!("; supervisord starts it again; its log is /var/log/supervisor/{name}.log");
        for (state, at, failures, expected) in [
            ("RUNNING", 99.0, 0, None),
            ("RUNNING", 99.0, 1, None),
            ("RUNNING", 39.0, 7, None),
            ("STOPPING", 99.0, 7, None),
            (
                "RUNNING",
                41.0,
                2,
                Some(format!("the program keeps ending, 2 times in a row (exit status 3){}", again("x"))),
            ),
            (
                "STARTING",
                99.0,
                7,
                Some(format!("the program keeps ending, 7 times in a row (exit status 3){}", again("x"))),
            ),
            ("BACKOFF", 1.0, 1, Some(format!("the program is down (exit status 3){}", again("x")))),
            (
                "BACKOFF",
                1.0,
                7,
                Some(format!("the program is down after 7 starts in a row (exit status 3){}", again("x"))),
            ),
            (
                "STOPPED",
                1.0,
                0,
                Some("the program was stopped; to start it, type: supervisorctl start x".into()),
            ),
            (
                "FATAL",
                1.0,
                4,
                Some("the program is down (FATAL, exit status 3); type: supervisorctl start x".into()),
            ),
        ] {
            let program = Program { state: state.into(), at, failures, end: "exit status 3".into() };
            assert_eq!(message("x", &program, 100.0), expected, "{state} {at} {failures}");
        }
    }

    #[test]
    fn the_file_of_the_launcher_is_understood_and_a_missing_or_broken_one_says_nothing() {
        let dir = tempfile::tempdir().unwrap();
        let journal = dir.path().join("boot.jsonl");
        assert_eq!(down(&journal, 2.0), []);
        let written = "{\"caddy\":{\"state\":\"STOPPED\",\"at\":1.000000,\"failures\":0,\"end\":\"\"},\n\
             \"sshd\":{\"state\":\"RUNNING\",\"at\":1.000000,\"failures\":0,\"end\":\"\"}}\n";
        fs::write(dir.path().join("programs.json"), written).unwrap();
        let names =
            |troubles: Vec<Trouble>| troubles.into_iter().map(|trouble| trouble.setting).collect::<Vec<_>>();
        assert_eq!(names(down(&journal, 2.0)), ["caddy"]);
        fs::write(dir.path().join("programs.json"), &written[..40]).unwrap();
        assert_eq!(down(&journal, 2.0), []);
    }
}
