//! `cargo xtask test`: all checks and tests, with one line of totals.

use kit::{Exit, Outcome};

use crate::engine::{self, Choice};
use crate::{check, e2e};

/// Run every check and every test
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Engine to use
    #[arg(long = "engine", value_enum, default_value_t)]
    choice: Choice,
}

/// Runs all of it; stops an engine that it started.
pub fn run(args: &Args) -> Outcome {
    let counts = engine::with(args.choice, |checkout, engine| {
        let checked = check::all(checkout)?;
        Ok(checked.merge(&e2e::tests(checkout, engine, None, None)?))
    })?;
    counts.print()?;
    Ok(if counts.all_passed() { Exit::Done } else { Exit::No })
}
