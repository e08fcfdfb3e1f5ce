//! Findings of checks, and the result that they add up to.

use std::fmt;

use serde::{Deserialize, Serialize};

/// Number of findings of one check that are shown.
const MAX_SHOWN: usize = 8;

/// Verdict of a check, from the best to the worst.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Not checked, with the reason.
    Skip,
    /// As it should be.
    Pass,
    /// It works, and deserves a look.
    Warn,
    /// It does not work.
    Fail,
}

impl fmt::Display for Verdict {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.pad(match self {
            Self::Skip => "skip",
            Self::Pass => "pass",
            Self::Warn => "warn",
            Self::Fail => "FAIL",
        })
    }
}

/// One thing that a check found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Finding {
    /// Verdict about it.
    pub verdict: Verdict,
    /// What was found, without secrets.
    pub seen: String,
    /// What to do about it, a command where there is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub remedy: Option<String>,
}

impl Finding {
    /// Returns a finding that needs nothing.
    pub fn pass(seen: impl Into<String>) -> Self {
        Self { verdict: Verdict::Pass, seen: seen.into(), remedy: None }
    }

    /// Returns the reason why something was not checked.
    pub fn skip(reason: impl Into<String>) -> Self {
        Self { verdict: Verdict::Skip, seen: reason.into(), remedy: None }
    }

    /// Returns a finding that deserves a look.
    pub fn warn(seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Warn, seen: seen.into(), remedy: Some(remedy.into()) }
    }

    /// Returns a fault.
    pub fn fail(seen: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { verdict: Verdict::Fail, seen: seen.into(), remedy: Some(remedy.into()) }
    }
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CheckResult {
    /// Name of the check.
    pub name: String,
    /// Worst verdict of its findings.
    pub verdict: Verdict,
    /// Duration in milliseconds.
    pub milliseconds: u64,
    /// The findings of that verdict first; there is at least one.
    pub findings: Vec<Finding>,
}

impl CheckResult {
    /// Returns the result of a check. Good news is left out beside bad news.
    #[must_use]
    pub fn new(name: &str, milliseconds: u64, mut findings: Vec<Finding>) -> Self {
        let verdict = findings.iter().map(|finding| finding.verdict).max().unwrap_or(Verdict::Pass);
        if verdict > Verdict::Pass {
            findings.retain(|finding| finding.verdict > Verdict::Pass);
        }
        findings.sort_by_key(|finding| std::cmp::Reverse(finding.verdict));
        if let Some(more) = findings.len().checked_sub(MAX_SHOWN).filter(|more| *more > 0) {
            findings.truncate(MAX_SHOWN);
            findings.push(Finding { verdict, seen: format!("and {more} more"), remedy: None });
        }
        Self { name: name.to_owned(), verdict, milliseconds, findings }
    }
}

/// Returns the command that shows the end of a log. A program may have failed long ago.
pub fn show_log(name: &str) -> String {
    format!("logtail {name} -n 50 --no-follow")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_has_the_worst_verdict_and_no_good_news_beside_bad_ones() {
        let (pass, skip) = (Finding::pass("p"), Finding::skip("s"));
        let (warn, fail) = (Finding::warn("w", "x"), Finding::fail("f", "y"));
        for (found, verdict, kept) in [
            (vec![], Verdict::Pass, vec![]),
            (vec![skip.clone()], Verdict::Skip, vec![skip.clone()]),
            (vec![skip.clone(), pass.clone()], Verdict::Pass, vec![pass.clone(), skip.clone()]),
            (
                vec![pass, skip, warn.clone(), fail.clone(), warn.clone()],
                Verdict::Fail,
                vec![fail, warn.clone(), warn.clone()],
            ),
        ] {
            let result = CheckResult::new("x", 0, found);
            assert_eq!((result.verdict, result.findings), (verdict, kept));
        }
        let many = CheckResult::new("x", 0, vec![warn; 20]);
        assert_eq!((many.findings.len(), many.findings[8].seen.as_str()), (9, "and 12 more"));
    }
}
