//! `cargo xtask check`: everything that needs no container.

use anyhow::Result;
use kit::{Exit, Outcome};

use crate::cargo::cargo;
use crate::checkout::Checkout;
use crate::nextest::{self, TestCounts};
use crate::{deny, docs, lint, step, system_packages};

/// Check formatting, lints, dependencies, unit and tool tests, and generated documentation
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the checks and prints the totals of the tests.
pub fn run(_: &Args) -> Outcome {
    let counts = all(&Checkout::find()?)?;
    counts.print()?;
    Ok(if counts.all_passed() { Exit::Done } else { Exit::No })
}

/// Runs the checks; stops at the first one that fails, except that all tests run.
pub fn all(checkout: &Checkout) -> Result<TestCounts> {
    system_packages::for_testing()?;
    step::run("check formatting", cargo(checkout).args(["fmt", "--all", "--check"]))?;
    let lints = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
    step::run("run clippy", cargo(checkout).args(lints))?;
    deny::check(checkout)?;
    lint::check(checkout)?;
    docs::check(checkout)?;
    // The end-to-end tests need an image; `cargo xtask e2e` runs them.
    nextest::run(checkout, "run unit and tool tests", "default", |command| {
        command.args(["--workspace", "--exclude", "e2e"]);
    })
}
