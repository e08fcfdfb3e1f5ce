//! Asks the registry about every base image, and reports in one issue.

use std::collections::BTreeSet;
use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result};
use kit::{Exit, Outcome};
use serde_json::Value;

use super::base_images::{self, Finding, Row};
use super::{Runner, github};
use crate::checkout::Checkout;
use crate::images::registry::{self, mirrored};
use crate::repository;
use crate::step;

/// Later patches that are looked for.
const PATCHES: std::ops::RangeInclusive<u32> = 1..=2;
const TITLE: &str = "Base images need attention";

/// Check that every base image exists and is supported, and look for newer patches
///
/// Exits with 1 if there is anything to do or a request failed.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Ask this mirror of Docker Hub, such as mirror.example:5000
    #[arg(long, value_name = "HOST", value_parser = repository::mirror)]
    mirror: Option<String>,
    /// Open, update or close one issue on GitHub; exit with 1 only if a request failed
    #[arg(long)]
    issue: bool,
}

/// Runs the task.
pub fn run(args: &Args, runner: Runner) -> Outcome {
    let docker = super::docker_client()?;
    let catalogue = super::catalogue(&Checkout::find()?, docker(), false)?;
    let bases: BTreeSet<String> = catalogue.variants().map(|variant| variant.base.clone()).collect();
    let bases: Vec<_> = bases.into_iter().collect();
    let registry = Registry { docker: &*docker, mirror: args.mirror.as_deref() };
    let mut failures = Vec::new();
    let findings = if runner.dry_run {
        bases.iter().try_for_each(|base| runner.run("", &mut registry.inspect(base)))?;
        Vec::new()
    } else {
        step::with(&format!("ask about {} base images", bases.len()), || {
            Ok(findings(&bases, &registry, &mut failures))
        })?
    };
    for failure in &failures {
        log::warn!("no answer for {failure}");
    }
    let answered = if failures.is_empty() { Exit::Done } else { Exit::No };
    if args.issue {
        report_on_github(&findings, failures.is_empty(), runner)?;
        return Ok(answered);
    }
    if findings.is_empty() {
        return Ok(answered);
    }
    io::stdout().write_all(base_images::report(&findings).as_bytes())?;
    Ok(Exit::No)
}

/// Goes on after a failed request, because one of many is often refused.
fn findings(bases: &[String], registry: &Registry, failures: &mut Vec<String>) -> Vec<Finding> {
    let mut findings = Vec::new();
    let mut ask = |base: &String| {
        registry.image(base).map_err(|error| failures.push(format!("{base}: {error:#}"))).ok()
    };
    for base in bases {
        let Some(answer) = ask(base) else { continue };
        match answer {
            None => findings.push(Finding::Missing { base: base.clone() }),
            Some(image) if base_images::is_end_of_life(&image) => {
                findings.push(Finding::EndOfLife { base: base.clone() });
            }
            Some(_) => {}
        }
    }
    for row in Row::of(bases) {
        for (version, later) in PATCHES.rev().filter_map(|patches| row.later(patches)) {
            if later.iter().all(|base| ask(base).flatten().is_some()) {
                findings.push(Finding::Newer { bases: row.bases, version });
                break;
            }
        }
    }
    findings
}

struct Registry<'run> {
    docker: &'run dyn Fn() -> Command,
    mirror: Option<&'run str>,
}

impl Registry<'_> {
    fn inspect(&self, base: &str) -> Command {
        let reference = mirrored(base, self.mirror);
        let mut inspect = (self.docker)();
        inspect.args(["buildx", "imagetools", "inspect", "--format", "{{json .Image}}", &reference]);
        inspect
    }

    /// Configuration of a base; `None` if the registry does not have it.
    fn image(&self, base: &str) -> Result<Option<Value>> {
        match kit::cmd::stdout(&mut self.inspect(base)) {
            Ok(text) => serde_json::from_str(&text)
                .map(Some)
                .with_context(|| format!("the configuration of {base} is not JSON")),
            Err(error) if registry::means_missing(&error.to_string()) => Ok(None),
            Err(error) => Err(error),
        }
    }
}

/// Keeps one open issue while there are findings; closes it only if every base was `answered` for.
fn report_on_github(findings: &[Finding], answered: bool, runner: Runner) -> Result<()> {
    let mut list = github::client();
    list.args(["issue", "list", "--state", "open", "--limit", "200", "--json", "number,title"]);
    if runner.dry_run {
        return runner.run("", &mut list);
    }
    let open = number_of(&kit::cmd::stdout(&mut list)?)?;
    let report = base_images::report(findings);
    let mut change = github::client();
    match (open, findings.is_empty()) {
        (None, true) => return Ok(()),
        (Some(_), true) if !answered => return Ok(()),
        (Some(number), true) => {
            change.args(["issue", "close", &number, "--comment", "Every base image is in order."]);
        }
        (Some(number), false) => {
            change.args(["issue", "edit", &number, "--body-file", "-"]);
        }
        (None, false) => {
            change.args(["issue", "create", "--title", TITLE, "--body-file", "-"]);
        }
    }
    kit::cmd::run_with_input(&mut change, report.as_bytes())
}

/// Number of our issue in `gh issue list --json number,title`.
fn number_of(list: &str) -> Result<Option<String>> {
    let issues: Vec<Value> = serde_json::from_str(list).context("gh did not print JSON")?;
    let ours = issues.iter().find(|issue| issue["title"] == TITLE);
    Ok(ours.map(|issue| issue["number"].to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_issue_is_known_by_its_title() {
        let list = r#"[{"number":7,"title":"Re: Base images need attention"},{"number":9,"title":"Base images need attention"}]"#;
        assert_eq!(number_of(list).unwrap().as_deref(), Some("9"));
        assert_eq!(number_of("[]").unwrap(), None);
    }
}
