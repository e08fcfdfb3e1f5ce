//! `cargo xtask bench`: measurements, as ratios to a baseline on this machine; never a test.

mod boot;
mod cli;
mod gate;
mod log_history;
mod log_page;
mod logtail;
mod process_usage;
mod provision;
mod samples;
mod storage;
mod tools;
mod workspace;
use clap::Parser;
use kit::{Exit, Outcome};
use xtask::{engine, step};

use cli::{Cli, Measurement};

/// Runs a measurement and prints its table.
pub fn run() -> Outcome {
    kit::logging::init("xtask", 0);
    let cli = Cli::try_parse()?;
    cli.verbosity.apply();
    step::log_to("bench");
    let choice = cli.choice;
    match &cli.measurement {
        Measurement::Boot(boot) => engine::with(choice, |_, engine| boot::run(boot, engine))?,
        Measurement::Gate(gate) => engine::with(choice, |_, engine| gate::run(gate, engine))?,
        Measurement::Storage(storage) => storage::run(storage)?,
        Measurement::Workspace(workspace) => workspace::run(workspace, choice)?,
        Measurement::LogHistory(history) => log_history::run(history)?,
        Measurement::LogPage(page) => engine::with(choice, |_, engine| log_page::run(page, engine))?,
        Measurement::Logtail(logtail) => logtail::run(logtail)?,
        Measurement::Provision(provision) => provision::run(provision)?,
    }
    Ok(Exit::Done)
}
