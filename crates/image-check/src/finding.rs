//! Findings: a place, what is wrong there, what it breaks, and the fix.

use std::fmt;

use kit::quote::escape_control_line;
use serde::Serialize;

/// Verdict about a place, in the words of `selftest`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Verdict {
    /// Something does not work, or is unsafe: exit code 1.
    Fail,
    /// It works, and deserves a look.
    Warn,
}

/// One finding. Texts may contain names of an untrusted image; `Display` escapes them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Finding {
    /// Name of the check.
    pub check: &'static str,
    /// Its verdict.
    pub verdict: Verdict,
    /// File, directory or variable.
    pub place: String,
    /// What is wrong.
    pub problem: String,
    /// What it breaks.
    pub effect: String,
    /// What to do.
    pub remedy: String,
}

impl Finding {
    /// Returns a fault.
    pub fn fault(
        check: &'static str,
        place: impl fmt::Display,
        problem: impl Into<String>,
        effect: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Self {
        Self {
            check,
            verdict: Verdict::Fail,
            place: place.to_string(),
            problem: problem.into(),
            effect: effect.into(),
            remedy: remedy.into(),
        }
    }

    /// Makes it a warning.
    #[must_use]
    pub fn as_warning(mut self) -> Self {
        self.verdict = Verdict::Warn;
        self
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { check: _, verdict, place, problem, effect, remedy } = self;
        let verdict = match verdict {
            Verdict::Fail => "FAIL",
            Verdict::Warn => "warn",
        };
        let line = |text: &str| escape_control_line(text);
        writeln!(formatter, "{verdict}  {}: {}", line(place), line(problem))?;
        writeln!(formatter, "      effect: {}", line(effect))?;
        write!(formatter, "      fix: {}", line(remedy))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_cannot_add_lines_to_the_report() {
        let finding = Finding::fault("x", "/opt/a\nFAIL  b\u{1b}[31m", "is wrong", "nothing works", "rm it");
        let expected =
            "warn  /opt/a\\nFAIL  b\\u{1b}[31m: is wrong\n      effect: nothing works\n      fix: rm it";
        assert_eq!(finding.as_warning().to_string(), expected);
    }
}
