//! Results as a table, as JSON and as JUnit XML.

use std::fmt::Write;

use kit::quote::escape_control_line;
use serde::Serialize;

use crate::finding::{CheckResult, Verdict};

/// Results of a run; `--json` prints it. Fields are only added.
#[derive(Debug, Serialize)]
pub struct Summary {
    /// True if no check failed.
    pub ok: bool,
    /// Number of checks that passed.
    pub passed: usize,
    /// Number of checks that warn.
    pub warned: usize,
    /// Number of checks that failed.
    pub failed: usize,
    /// Number of checks that were skipped.
    pub skipped: usize,
    /// The results.
    pub checks: Vec<CheckResult>,
}

impl Summary {
    /// Counts the results.
    #[must_use]
    pub fn new(checks: Vec<CheckResult>) -> Self {
        let count = |verdict| checks.iter().filter(|result| result.verdict == verdict).count();
        Self {
            ok: count(Verdict::Fail) == 0,
            passed: count(Verdict::Pass),
            warned: count(Verdict::Warn),
            failed: count(Verdict::Fail),
            skipped: count(Verdict::Skip),
            checks,
        }
    }
}

/// Returns the table and the counts.
pub fn text(summary: &Summary) -> String {
    let mut text = String::new();
    for result in &summary.checks {
        for (index, finding) in result.findings.iter().enumerate() {
            let name = if index == 0 { result.name.as_str() } else { "" };
            // Writing to a String cannot fail.
            let _ =
                writeln!(text, "{name:<13} {:<5} {}", finding.verdict, escape_control_line(&finding.seen));
            if let Some(remedy) = &finding.remedy {
                let _ = writeln!(text, "{:<19} fix: {}", "", escape_control_line(remedy));
            }
        }
        if result.findings.is_empty() {
            let _ = writeln!(text, "{:<13} {:<5}", result.name, result.verdict);
        }
    }
    let Summary { passed, warned, failed, skipped, .. } = summary;
    let warnings = if *warned == 1 { "1 warning".to_owned() } else { format!("{warned} warnings") };
    let _ = writeln!(text, "\n{passed} passed, {warnings}, {failed} failed, {skipped} skipped");
    text
}

/// Returns the results as JUnit XML.
pub fn junit(summary: &Summary) -> String {
    let seconds = |milliseconds: u64| format!("{}.{:03}", milliseconds / 1000, milliseconds % 1000);
    let longest = summary.checks.iter().map(|result| result.milliseconds).max().unwrap_or(0);
    let mut xml = format!(
        "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n\
         <testsuites>\n<testsuite name=\"selftest\" tests=\"{}\" failures=\"{}\" errors=\"0\" skipped=\"{}\" time=\"{}\">\n",
        summary.checks.len(),
        summary.failed,
        summary.skipped,
        seconds(longest),
    );
    for result in &summary.checks {
        let lines = result.findings.iter().map(|finding| match &finding.remedy {
            Some(remedy) => format!("{}; fix: {remedy}", finding.seen),
            None => finding.seen.clone(),
        });
        let lines = lines.collect::<Vec<_>>().join("\n");
        let first = result.findings.first().map_or("", |finding| &finding.seen);
        let body = match result.verdict {
            Verdict::Fail => {
                format!("<failure message=\"{}\">{}</failure>", escaped(first), escaped(&lines))
            }
            Verdict::Skip => format!("<skipped message=\"{}\"/>", escaped(first)),
            Verdict::Warn | Verdict::Pass => format!("<system-out>{}</system-out>", escaped(&lines)),
        };
        let _ = writeln!(
            xml,
            "<testcase classname=\"selftest\" name=\"{}\" time=\"{}\">{body}</testcase>",
            escaped(&result.name),
            seconds(result.milliseconds),
        );
    }
    xml + "</testsuite>\n</testsuites>\n"
}

/// Escapes a text for XML, in which most control characters cannot be written at all.
fn escaped(text: &str) -> String {
    let lines: Vec<String> = text.lines().map(escape_control_line).collect();
    let mut escaped = String::new();
    for character in lines.join("\n").chars() {
        match character {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\u{fffe}' | '\u{ffff}' => escaped.push('\u{fffd}'),
            other => escaped.push(other),
        }
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::Finding;

    fn summary() -> Summary {
        Summary::new(vec![
            CheckResult::new("boot", 12, vec![Finding::pass("ready")]),
            CheckResult::new(
                "programs",
                1_005,
                vec![
                    Finding::warn("b <c> & \"d\"", "look"),
                    Finding::fail("a\u{1b}[31m\nx", "supervisorctl start a"),
                ],
            ),
            CheckResult::new("gpu", 0, vec![Finding::skip("no GPU")]),
        ])
    }

    #[test]
    fn a_table_has_a_row_for_each_finding_and_its_remedy_below() {
        assert_eq!(
            text(&summary()),
            "boot          pass  ready\n\
             programs      FAIL  a\\u{1b}[31m\\nx\n\
             \u{20}                   fix: supervisorctl start a\n\
             \u{20}             warn  b <c> & \"d\"\n\
             \u{20}                   fix: look\n\
             gpu           skip  no GPU\n\
             \n\
             1 passed, 0 warnings, 1 failed, 1 skipped\n"
        );
    }

    #[test]
    fn junit_has_a_test_case_for_each_check() {
        assert_eq!(
            junit(&summary()),
            r#"<?xml version="1.0" encoding="UTF-8"?>
<testsuites>
<testsuite name="selftest" tests="3" failures="1" errors="0" skipped="1" time="1.005">
<testcase classname="selftest" name="boot" time="0.012"><system-out>ready</system-out></testcase>
<testcase classname="selftest" name="programs" time="1.005"><failure message="a\u{1b}[31m
x">a\u{1b}[31m
x; fix: supervisorctl start a
b &lt;c&gt; &amp; &quot;d&quot;; fix: look</failure></testcase>
<testcase classname="selftest" name="gpu" time="0.000"><skipped message="no GPU"/></testcase>
</testsuite>
</testsuites>
"#
        );
    }

    #[test]
    fn the_json_form_is_stable() {
        let json = serde_json::to_value(summary()).unwrap();
        let expected = serde_json::json!({
            "ok": false, "passed": 1, "warned": 0, "failed": 1, "skipped": 1,
            "checks": [
                {"name": "boot", "verdict": "pass", "milliseconds": 12,
                 "findings": [{"verdict": "pass", "seen": "ready"}]},
                {"name": "programs", "verdict": "fail", "milliseconds": 1005, "findings": [
                    {"verdict": "fail", "seen": "a\u{1b}[31m\nx", "remedy": "supervisorctl start a"},
                    {"verdict": "warn", "seen": "b <c> & \"d\"", "remedy": "look"}]},
                {"name": "gpu", "verdict": "skip", "milliseconds": 0,
                 "findings": [{"verdict": "skip", "seen": "no GPU"}]},
            ]
        });
        assert_eq!(json, expected);
    }
}
