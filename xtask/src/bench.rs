//! `cargo xtask bench`: runs a separate package, so that the other tasks do not compile its dependencies.

use std::ffi::OsString;

use anyhow::Context;
use kit::Outcome;
use log::{Level, LevelFilter};

use crate::cargo::cargo;
use crate::checkout::Checkout;

/// Run benchmarks on this machine and compare with public tools
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Benchmark and its options; --help lists them
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGUMENT")]
    pub arguments: Vec<OsString>,
}

/// Builds and runs the benchmark program on the caller's terminal, and returns its exit code.
pub fn run(args: &Args) -> Outcome {
    let mut command = cargo(&Checkout::find()?);
    // It measures a library too, as it is shipped.
    command.args(["run", "--release", "--locked", "--package", "bench"]);
    if !log::log_enabled!(Level::Info) {
        command.arg("--quiet");
    }
    command.arg("--").args(verbosity()).args(&args.arguments);
    let status = command.status().with_context(|| format!("cannot run {}", kit::cmd::describe(&command)))?;
    Ok(status.into())
}

/// Returns the option for the same verbosity as this process.
fn verbosity() -> Option<&'static str> {
    match log::max_level() {
        LevelFilter::Off | LevelFilter::Error | LevelFilter::Warn => Some("--quiet"),
        LevelFilter::Info => None,
        LevelFilter::Debug | LevelFilter::Trace => Some("--verbose"),
    }
}
