//! States of supervisord's programs.

use std::path::Path;

use anyhow::Result;
use journal::{DownProgram, Severity, log_name};

use crate::context::Context;
use crate::finding::{Finding, show_log};

/// Runs the check.
pub fn check(context: &Context) -> Result<Vec<Finding>> {
    let mut findings: Vec<Finding> = context.journal.down_programs().into_iter().map(finding).collect();
    if context.is_root {
        match process_control::list(Path::new(process_control::SOCKET)) {
            Ok(programs) => {
                findings.push(Finding::pass(format!(
                    "supervisord has {} programs, none is down",
                    programs.len()
                )));
            }
            // While it is known to be down, it cannot answer.
            Err(_) if findings.iter().any(|finding| finding.seen.starts_with("processcontrol: ")) => {}
            Err(refusal) => {
                let message = refusal.message.split("; run: ").next().unwrap_or_default();
                findings.push(Finding::fail(message, "supervisorctl restart processcontrol"));
            }
        }
    } else if findings.is_empty() {
        findings.push(Finding::pass("no program is down"));
    }
    Ok(findings)
}

fn finding(program: DownProgram) -> Finding {
    let DownProgram { name, severity, message, remedy, log } = program;
    let command = remedy.as_deref().and_then(|remedy| remedy.split_once("run: ")).map(|(_, command)| command);
    // As supervisord words it.
    let has_no_command = ["can't find command", "command at "].iter().any(|start| message.contains(start));
    let see_log = log.as_deref().and_then(log_name).map(show_log);
    let fix = match (command, see_log) {
        _ if has_no_command => format!(
            "provide the command, or correct it in /etc/supervisor/conf.d; then: supervisorctl update; \
             supervisorctl start {name}"
        ),
        (Some(command), Some(log)) => format!("{log}; then: {command}"),
        (Some(command), None) => command.to_owned(),
        (None, Some(log)) => log,
        (None, None) => format!("supervisorctl tail {name}"),
    };
    let seen = format!("{name}: {message}");
    if severity == Severity::Error { Finding::fail(seen, fix) } else { Finding::warn(seen, fix) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_that_is_down_is_named_with_the_command_that_helps() {
        let program = |severity, remedy: Option<&str>, log: Option<&str>| DownProgram {
            name: "a:b".into(),
            severity,
            message: "the program is down".into(),
            remedy: remedy.map(str::to_owned),
            log: log.map(str::to_owned),
        };
        let seen = "a:b: the program is down";
        let log = Some("/var/log/supervisor/b.log");
        for (program, expected) in [
            (
                program(Severity::Error, Some("run: supervisorctl start a:b"), log),
                Finding::fail(seen, "logtail b -n 50 --no-follow; then: supervisorctl start a:b"),
            ),
            (
                program(Severity::Warning, Some("to start it, run: supervisorctl start a:b"), None),
                Finding::warn(seen, "supervisorctl start a:b"),
            ),
            (program(Severity::Error, None, log), Finding::fail(seen, "logtail b -n 50 --no-follow")),
            (program(Severity::Error, None, None), Finding::fail(seen, "supervisorctl tail a:b")),
        ] {
            assert_eq!(finding(program), expected);
        }
        let missing = "the program is down (can't find command '/no')";
        let program = DownProgram { message: missing.into(), ..program(Severity::Error, None, log) };
        assert_eq!(
            finding(program),
            Finding::fail(
                format!("a:b: {missing}"),
                "provide the command, or correct it in /etc/supervisor/conf.d; then: supervisorctl update; \
                 supervisorctl start a:b"
            )
        );
    }
}
