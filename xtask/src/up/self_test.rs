//! The self-test of the container, run once it is up.

use std::fmt::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};
use kit::cmd;
use kit::quote::escape_control_line;
use serde::{Deserialize, Serialize};

use crate::engine::Engine;

/// Time for late boot before the checks. A script of the user's may take hours: the self-test then says that it runs.
const READY: &[&str] = &["boot", "wait", "ready", "--timeout", "20s"];
/// The system user's shell would skip what needs root.
const CHECK: &[&str] = &["selftest", "--json"];

/// Counts of the checks, and the faults. Fields are only added.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct SelfTest {
    /// Number of checks that passed.
    pub passed: usize,
    /// Number of checks that warn.
    pub warned: usize,
    /// Number of checks that failed.
    pub failed: usize,
    /// Number of checks that were skipped.
    pub skipped: usize,
    /// What the failed checks found.
    pub faults: Vec<Fault>,
}

/// One thing that does not work.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Fault {
    /// Name of the check.
    pub check: String,
    /// What was found.
    pub seen: String,
    /// What to do about it inside the container.
    pub remedy: String,
}

impl SelfTest {
    /// Renders the counts, and below them each fault with its remedy; each line is indented by `indent`, but the first.
    pub fn text(&self, indent: usize) -> String {
        let Self { passed, warned, failed, skipped, faults } = self;
        let warnings = if *warned == 1 { "1 warning".to_owned() } else { format!("{warned} warnings") };
        let mut text = format!("{passed} passed, {warnings}, {failed} failed, {skipped} skipped");
        for Fault { check, seen, remedy } in faults {
            let [seen, remedy] = [seen, remedy].map(|part| escape_control_line(part));
            // Writing to a String cannot fail.
            let _ = write!(text, "\n{:indent$}{check}: {seen}\n{:indent$}  fix: {remedy}", "", "");
        }
        text
    }
}

/// Waits briefly until the container is ready, and lets it check itself. An error is about the self-test alone.
pub fn run(engine: &Engine, name: &str) -> Result<SelfTest> {
    // It fails while late boot is running or has failed, which the self-test reports.
    let _ = cmd::run(engine.docker().args(["exec", name]).args(READY));
    let mut check: Command = engine.docker();
    check.args(["exec", name]).args(CHECK).stdin(Stdio::null());
    let output = check.output().with_context(|| format!("cannot run {}", cmd::describe(&check)))?;
    let stderr = String::from_utf8_lossy(&output.stderr);
    ensure!(
        !output.stdout.is_empty(),
        "{} failed ({}): {}",
        cmd::describe(&check),
        output.status,
        stderr.trim()
    );
    read(&output.stdout)
}

#[derive(Deserialize)]
struct Summary {
    passed: usize,
    warned: usize,
    failed: usize,
    skipped: usize,
    checks: Vec<Check>,
}

#[derive(Deserialize)]
struct Check {
    name: String,
    findings: Vec<Finding>,
}

#[derive(Deserialize)]
struct Finding {
    verdict: String,
    seen: String,
    #[serde(default)]
    remedy: String,
}

/// Reads the output of `selftest --json`.
fn read(json: &[u8]) -> Result<SelfTest> {
    let summary: Summary = serde_json::from_slice(json).context("the output of selftest is malformed")?;
    let Summary { passed, warned, failed, skipped, checks } = summary;
    let faults = checks.into_iter().flat_map(|Check { name, findings }| {
        let failed = findings.into_iter().filter(|finding| finding.verdict == "fail");
        failed.map(move |Finding { seen, remedy, .. }| Fault { check: name.clone(), seen, remedy })
    });
    Ok(SelfTest { passed, warned, failed, skipped, faults: faults.collect() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_are_shown_with_their_remedies_and_warnings_are_counted() {
        let json = br#"{"ok":false,"passed":1,"warned":1,"failed":1,"skipped":2,"checks":[
            {"name":"boot","verdict":"pass","milliseconds":1,"findings":[{"verdict":"pass","seen":"ready"}]},
            {"name":"programs","verdict":"warn","milliseconds":1,"findings":[{"verdict":"warn","seen":"w","remedy":"r"}]},
            {"name":"gate","verdict":"fail","milliseconds":1,"findings":[
                {"verdict":"fail","seen":"port 1111\u001b[31m does not answer","remedy":"supervisorctl restart caddy"},
                {"verdict":"warn","seen":"w","remedy":"r"}]}]}"#;
        assert_eq!(
            read(json).unwrap().text(4),
            "1 passed, 1 warning, 1 failed, 2 skipped\n\
             \u{20}   gate: port 1111\\u{1b}[31m does not answer\n\
             \u{20}     fix: supervisorctl restart caddy"
        );
        assert!(read(b"bash: selftest: command not found").is_err());
    }
}
