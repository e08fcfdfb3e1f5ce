//! Fetch the provisioning script and run it once.
//!
//! `PROVISIONING_SCRIPT` names a script by its URL; without it, a file mounted at
//! `/opt/leonardo/bin/provisioning.sh` is taken. `provision run`, which late boot calls at every start, gets hold of it,
//! sees that it is a script, and runs it as the system user in a login shell, unless this very script has ended well
//! before. `provision status` says what ran and how it ended. `docs/provisioning.md` is the manual.
//!
//! # What happens when something is killed
//!
//! | killed | what follows |
//! |---|---|
//! | `provision`, by SIGTERM, SIGINT, SIGHUP | the script's session is ended, and that is noted; it runs again with the next start |
//! | `provision`, by SIGKILL | the kernel kills the script; `guard` ends what it started, and holds the lock until that is done |
//! | the script or a part of it | an end like any other that is no good one |
//! | the container | the record says that it began and not that it ended: it was cut short, and runs again |
//!
//! A script is noted as begun before it can run its first command, and as ended well only after its last one, but before
//! what it has left running is ended: nothing that has ended well runs again by itself. With a record that cannot be
//! understood nothing runs, because it may be of a script that has.

mod account;
mod address;
mod cleanup_guard;
mod cli;
mod content_check;
mod decision;
mod failure;
mod fetch;
mod launch;
mod line_assembler;
mod lock;
mod log_file;
mod output_pump;
mod progress_reporter;
mod proxy;
mod raw_url;
mod redact;
mod report;
mod request;
mod resolver;
mod run;
mod script_process;
mod script_session;
mod shebang;
mod source;
mod state;
mod status;
mod stored_environment;
mod terminal_text;
mod time_limits;
mod verdict;

use std::path::Path;

use clap::Parser;
use kit::Outcome;

pub use cli::command;
use cli::{Cli, Task};
pub use report::{Report, ReportOutcome};
pub use source::setting_problem;

/// Where script, record and lock are.
pub const STATE_DIRECTORY: &str = "/var/lib/leonardo/provisioning";
/// Where the script's output goes.
pub const LOG: &str = "/var/log/provisioning.log";
/// Where people mount a script.
pub const MOUNTED_SCRIPT: &str = "/opt/leonardo/bin/provisioning.sh";

/// What the record says about a run of this attempt that has ended, for when `provision` was killed before it could.
#[must_use]
pub fn last_report(attempt: Option<&str>) -> Option<Report> {
    let last = state::StateDirectory::new(Path::new(STATE_DIRECTORY)).last_run().ok().flatten()?;
    last.report_of(attempt, Path::new(LOG))
}

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    cli.verbosity.apply();
    match &cli.task {
        Task::Run(task) => run::run(&cli, task),
        Task::Status { json } => status::run(&cli, *json),
        Task::Launch(launch) => launch::run(launch),
        Task::Guard { session, time_divisor } => cleanup_guard::run(*session, *time_divisor),
    }
}
