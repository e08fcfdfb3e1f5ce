//! Test runs by cargo-nextest, which counts their results in a `JUnit` file.

use std::fs;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::checkout::Checkout;
use crate::{cargo_tools, step};

const VERSION: &str = "0.9.143";
/// Lines about failed tests that are shown at the end.
const MAX_LINES: usize = 400;
/// Exit codes of nextest, from its crate `nextest-metadata`.
const TESTS_FAILED: i32 = 100;
const NO_TESTS: i32 = 4;

/// Results of tests.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TestCounts {
    /// Number of tests that passed.
    pub passed: u64,
    /// Number of tests that failed.
    pub failed: u64,
    /// Output of the failed tests, printed at the end.
    pub failures: String,
}

impl TestCounts {
    /// Returns the sum of the counts.
    #[must_use]
    pub fn merge(self, other: &Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            failures: self.failures + &other.failures,
        }
    }

    /// True if at least one test ran and all passed.
    #[must_use]
    pub fn all_passed(&self) -> bool {
        self.passed > 0 && self.failed == 0
    }

    /// Prints the failures and the line of totals, which other programs parse.
    pub fn print(&self) -> Result<()> {
        let failures = kit::quote::escape_control(&self.failures);
        writeln!(io::stdout(), "{failures}{} passed, {} failed", self.passed, self.failed)
            .context("cannot print")
    }
}

/// Runs the tests of a profile of `.config/nextest.toml` as one step; `configure` adds arguments and environment.
///
/// Failed tests are a result; an error means that the tests could not run, such as for a test that does not compile.
pub fn run(
    checkout: &Checkout,
    title: &str,
    profile: &str,
    configure: impl FnOnce(&mut Command),
) -> Result<TestCounts> {
    let program = cargo_tools::ensure_installed(checkout, "cargo-nextest", VERSION)?;
    let junit = checkout.root().join("target/nextest").join(profile).join("junit.xml");
    kit::remove_file(&junit)?;
    let mut command = Command::new(program);
    command.current_dir(checkout.root());
    command.args(["nextest", "run", "--profile", profile, "--color", "never", "--locked"]);
    configure(&mut command);
    let (status, output) = step::status(title, &mut command)?;
    let report = fs::read_to_string(&junit).unwrap_or_default();
    result(status.code(), &output, &report)
        .with_context(|| format!("{} failed ({status})", kit::cmd::describe(&command)))
}

fn result(code: Option<i32>, output: &str, report: &str) -> Result<TestCounts> {
    let counts = || count(report).context("it wrote no results");
    match code {
        Some(0) => counts(),
        Some(NO_TESTS) => Ok(TestCounts::default()),
        Some(TESTS_FAILED) => {
            let counts = counts()?;
            Ok(TestCounts { failed: counts.failed.max(1), failures: failures(output), ..counts })
        }
        _ => bail!("its output ends with:\n{}", step::tail(output)),
    }
}

/// Reads the attributes of the first `<testsuites>`.
fn count(report: &str) -> Option<TestCounts> {
    let (_, rest) = report.split_once("<testsuites ")?;
    let (attributes, _) = rest.split_once('>')?;
    let number = |name: &str| -> Option<u64> {
        let (_, rest) = attributes.split_once(&format!("{name}=\""))?;
        rest.split_once('"')?.0.parse().ok()
    };
    let failed = number("failures")? + number("errors")?;
    Some(TestCounts { passed: number(" tests")?.checked_sub(failed)?, failed, failures: String::new() })
}

/// Returns the text after nextest's summary: the failed tests with their output.
fn failures(output: &str) -> String {
    let lines: Vec<_> = output.lines().collect();
    let summary = lines.iter().rposition(|line| line.trim_start().starts_with("Summary ["));
    let lines = &lines[summary.unwrap_or(lines.len().saturating_sub(MAX_LINES))..];
    lines.iter().take(MAX_LINES).flat_map(|line| [line, "\n"]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(tests: u32, failures: u32, errors: u32) -> String {
        format!(
            "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<testsuites name=\"nextest-run\" tests=\"{tests}\" \
             skipped=\"0\" failures=\"{failures}\" errors=\"{errors}\" time=\"0.2\">\n    <testsuite name=\"a\" \
             tests=\"99\" failures=\"99\" errors=\"99\">\n"
        )
    }

    fn counts(passed: u64, failed: u64, failures: &str) -> TestCounts {
        TestCounts { passed, failed, failures: failures.to_owned() }
    }

    #[test]
    fn all_results_are_counted_once() {
        assert_eq!(count(&report(4, 0, 0)), Some(counts(4, 0, "")));
        assert_eq!(count(&report(4, 2, 1)), Some(counts(1, 3, "")));
        assert_eq!(count(""), None);
        assert_eq!(counts(1, 2, "a\n").merge(&counts(3, 4, "b\n")), counts(4, 6, "a\nb\n"));
        assert!(counts(1, 0, "").all_passed());
        assert!(!counts(0, 0, "").all_passed() && !counts(1, 1, "").all_passed());
    }

    #[test]
    fn failed_tests_are_a_result_and_anything_else_is_an_error() {
        let output = "   Compiling a\n    FAIL [ 1s] (1/2) a b\n────\n     Summary [   1.0s] 2 tests run\n  stdout ───\n";
        let shown = "     Summary [   1.0s] 2 tests run\n  stdout ───\n";
        assert_eq!(result(Some(0), output, &report(2, 0, 0)).unwrap(), counts(2, 0, ""));
        assert_eq!(result(Some(100), output, &report(2, 1, 0)).unwrap(), counts(1, 1, shown));
        assert_eq!(result(Some(100), output, &report(2, 0, 0)).unwrap().failed, 1, "it says so itself");
        assert!(!result(Some(4), output, &report(0, 0, 0)).unwrap().all_passed());
        assert!(result(Some(0), output, "").is_err());
        for code in [Some(101), Some(96), None] {
            let error = result(code, "error: expected `;`\n", &report(2, 0, 0)).unwrap_err();
            assert_eq!(error.to_string(), "its output ends with:\nerror: expected `;`");
        }
    }

    #[test]
    fn many_failures_do_not_fill_the_screen() {
        let output = format!("Summary [ 1s]\n{}", "line\n".repeat(1_000));
        assert_eq!(failures(&output).lines().count(), MAX_LINES);
        let without = "line\n".repeat(1_000);
        assert_eq!(failures(&without).lines().count(), MAX_LINES);
    }
}
