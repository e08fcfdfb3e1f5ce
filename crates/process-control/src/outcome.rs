//! The result of an action in one sentence.

use std::collections::BTreeMap;

use crate::protocol::{Action, Outcome, Program};

/// State of one program after an action.
#[derive(Debug, PartialEq, Eq)]
enum Verdict {
    /// As requested, in words.
    Done(String),
    /// Not yet as requested.
    Pending(&'static str),
    /// Not as requested, with the reason.
    Failed(String),
}

/// Judges an action by the states of its programs and by what supervisord refused, by name.
pub fn outcome(action: Action, programs: &[Program], failures: &BTreeMap<String, String>) -> Outcome {
    let judged: Vec<(&str, Verdict)> = programs
        .iter()
        .map(|program| (program.name.as_str(), judge(action, program, failures.get(&program.name))))
        .collect();
    let failed = || judged.iter().filter(|(_, verdict)| matches!(verdict, Verdict::Failed(_)));
    let finished = !judged.iter().any(|(_, verdict)| matches!(verdict, Verdict::Pending(_)));
    let message = match judged.as_slice() {
        [] => "supervisord no longer has the program".to_owned(),
        [(name, Verdict::Done(text) | Verdict::Failed(text))] => format!("{name} {text}"),
        [(name, Verdict::Pending(text))] => format!("{name} {text}"),
        several => {
            let (count, done) = (several.len(), if action == Action::Stop { "stopped" } else { "running" });
            match (failed().next(), finished) {
                (Some((name, Verdict::Failed(text))), _) => {
                    format!("{} of {count} programs failed; {name} {text}", failed().count())
                }
                (_, true) => format!("all {count} programs are {done}"),
                (_, false) => format!("not all of {count} programs are {done} yet"),
            }
        }
    };
    let ok = finished && !judged.is_empty() && failed().next().is_none();
    Outcome { ok, finished, message, programs: programs.to_vec() }
}

fn judge(action: Action, program: &Program, failure: Option<&String>) -> Verdict {
    let stopped = matches!(program.state.as_str(), "STOPPED" | "EXITED" | "FATAL" | "UNKNOWN");
    let exit = program.last_exit.as_ref();
    match (action, program.state.as_str()) {
        (Action::Stop, _) if stopped => Verdict::Done("is stopped".to_owned()),
        (Action::Stop, _) => match failure {
            Some(failure) => Verdict::Failed(format!("was not stopped: {failure}")),
            None => Verdict::Pending("is still stopping"),
        },
        (_, "RUNNING") if failure.is_some() => {
            Verdict::Failed(format!("was not restarted: {}", failure.map_or("", String::as_str)))
        }
        (_, "RUNNING") => Verdict::Done(
            program.pid.map_or_else(|| "is running".to_owned(), |pid| format!("is running with pid {pid}")),
        ),
        (_, "STARTING") => Verdict::Pending("is still starting"),
        (_, "STOPPING") => Verdict::Pending("is still stopping"),
        (_, state) => {
            let reason = match (failure, exit) {
                (Some(failure), _) => failure.clone(),
                (None, Some(exit)) if state == "EXITED" && exit.expected => {
                    return Verdict::Done(exit.sentence.clone());
                }
                (None, Some(exit)) => exit.sentence.clone(),
                (None, None) => format!("its state is {state}"),
            };
            let retried = if state == "BACKOFF" { "; supervisord tries again" } else { "" };
            Verdict::Failed(format!("did not start: {reason}{retried}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::protocol::Exit;

    fn program(name: &str, state: &str, exit: Option<(&str, bool)>) -> Program {
        let last_exit = exit.map(|(sentence, expected)| Exit {
            at: 1.0,
            sentence: sentence.to_owned(),
            expected,
            log: None,
            log_size: 0,
        });
        let pid = matches!(state, "RUNNING" | "STARTING" | "STOPPING").then_some(7);
        Program { name: name.to_owned(), state: state.to_owned(), pid, last_exit, ..Program::default() }
    }

    #[test]
    fn each_end_of_an_action_is_one_sentence() {
        use Action::{Restart, Start, Stop};
        let bad = Some(("exit code 3", false));
        let one = |state, exit| vec![program("a", state, exit)];
        let pair = |first, second| vec![program("g:0", first, bad), program("g:1", second, bad)];
        let none = BTreeMap::new();
        let missing = BTreeMap::from([("a".to_owned(), "can't find command '/x'".to_owned())]);
        for (action, programs, failures, (ok, finished), message) in [
            (Start, one("RUNNING", bad), &none, (true, true), "a is running with pid 7"),
            (Restart, one("RUNNING", bad), &none, (true, true), "a is running with pid 7"),
            (
                Restart,
                one("RUNNING", bad),
                &missing,
                (false, true),
                "a was not restarted: can't find command '/x'",
            ),
            (Start, one("STARTING", bad), &none, (false, false), "a is still starting"),
            (Restart, one("STOPPING", bad), &none, (false, false), "a is still stopping"),
            (
                Start,
                one("EXITED", Some(("exited successfully", true))),
                &none,
                (true, true),
                "a exited successfully",
            ),
            (Start, one("EXITED", bad), &none, (false, true), "a did not start: exit code 3"),
            (
                Start,
                one("BACKOFF", bad),
                &none,
                (false, true),
                "a did not start: exit code 3; supervisord tries again",
            ),
            (Start, one("FATAL", None), &none, (false, true), "a did not start: its state is FATAL"),
            (Start, one("STOPPED", bad), &missing, (false, true), "a did not start: can't find command '/x'"),
            (Stop, one("STOPPED", None), &none, (true, true), "a is stopped"),
            (Stop, one("STOPPING", None), &none, (false, false), "a is still stopping"),
            (
                Stop,
                one("RUNNING", None),
                &missing,
                (false, true),
                "a was not stopped: can't find command '/x'",
            ),
            (Start, pair("RUNNING", "RUNNING"), &none, (true, true), "all 2 programs are running"),
            (Stop, pair("STOPPED", "EXITED"), &none, (true, true), "all 2 programs are stopped"),
            (
                Start,
                pair("RUNNING", "STARTING"),
                &none,
                (false, false),
                "not all of 2 programs are running yet",
            ),
            (
                Start,
                pair("FATAL", "RUNNING"),
                &none,
                (false, true),
                "1 of 2 programs failed; g:0 did not start: exit code 3",
            ),
            (Start, vec![], &none, (false, true), "supervisord no longer has the program"),
        ] {
            let judged = outcome(action, &programs, failures);
            assert_eq!(
                (judged.ok, judged.finished, judged.message.as_str()),
                (ok, finished, message),
                "{programs:?}"
            );
        }
    }
}
