//! Limits of the container that keep a check from its work, which says nothing about what it checks.

use kit::process_limit;

use crate::finding::{CheckResult, Finding, Verdict};

const FILES: &str = "start the container with: --ulimit nofile=65536";

/// What a check lacked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Shortage {
    /// Processes or threads.
    Processes,
    /// Open files.
    Files,
}

/// Returns what a check lacked. Findings come as text from another process, which has it from others.
pub fn of(result: &CheckResult) -> Option<Shortage> {
    result.findings.iter().find_map(of_finding)
}

fn of_finding(finding: &Finding) -> Option<Shortage> {
    if finding.verdict < Verdict::Warn {
        return None;
    }
    // Of errors and of a panic: EAGAIN, EMFILE and ENFILE.
    let has = |code: u32| {
        [format!("(os error {code})"), format!("code: {code},")]
            .iter()
            .any(|text| finding.seen.contains(text))
    };
    match () {
        () if has(11) => Some(Shortage::Processes),
        () if has(24) || has(23) => Some(Shortage::Files),
        () => None,
    }
}

/// Replaces the findings that only show a shortage by one that names the limit.
pub fn explain(CheckResult { name, milliseconds, findings, .. }: CheckResult) -> CheckResult {
    let (lacking, mut kept): (Vec<_>, Vec<_>) =
        findings.into_iter().partition(|finding| of_finding(finding).is_some());
    if let Some(first) = lacking.first() {
        let (what, remedy) = match of_finding(first) {
            Some(Shortage::Files) => ("open files", FILES),
            _ => ("processes", process_limit::REMEDY),
        };
        let seen = format!("not checked, because the limit of {what} is reached: {}", first.seen);
        kept.push(Finding::fail(seen, remedy));
    }
    CheckResult::new(&name, milliseconds, kept)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shortage_is_named_with_the_option_that_ends_it() {
        for (seen, expected) in [
            ("cannot run \"x\": Resource temporarily unavailable (os error 11)", Some(process_limit::REMEDY)),
            ("panicked: Os { code: 11, kind: WouldBlock }", Some(process_limit::REMEDY)),
            ("cannot open x: Too many open files (os error 24)", Some(FILES)),
            ("No such file or directory (os error 2)", None),
            ("exit code: 111", None),
        ] {
            let given = CheckResult::new("gate", 5, vec![Finding::fail(seen, "selftest gate")]);
            let explained = explain(given.clone());
            assert_eq!(of(&given).is_some(), expected.is_some(), "{seen}");
            assert_eq!(explained.findings[0].remedy.as_deref(), expected.or(Some("selftest gate")), "{seen}");
            assert!(explained.findings[0].seen.ends_with(seen));
        }
    }
}
