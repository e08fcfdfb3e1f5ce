//! Fetch the provisioning script and run it once.
//!
//! The script is the one at the URL in `PROVISIONING_SCRIPT`, or else the file mounted at
//! `/opt/leonardo/bin/provisioning.sh`. `provision run`, which late boot calls at every start, fetches it, checks that it is
//! a script, and runs it as the system user in a login shell, unless the same script has already run successfully.
//! `provision status` shows the last run and its result. `docs/provisioning.md` is the manual.
//!
//! # What happens when something is killed
//!
//! | killed | result |
//! |---|---|
//! | `provision`, by SIGTERM, SIGINT, SIGHUP | the script's session is ended, and that is recorded; it is retried at the next start |
//! | `provision`, by SIGKILL | the kernel kills the script; `guard` ends its session, and holds the lock until that is done |
//! | the script or a part of it | a failure like any other |
//! | the container | the record has a start and no end: the script was interrupted, and runs again |
//!
//! The start is recorded before the first command can run, and a success after the last one, but before background processes
//! of the script are ended: a successful script does not run again by itself. With an unreadable record nothing runs, because
//! it may be of a successful script.

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
mod report;
mod request;
mod resolver;
mod run;
mod script_process;
mod script_session;
mod session_environment;
mod shebang;
mod source;
mod state;
mod status;
mod time_limits;
mod verdict;

use std::path::Path;

use clap::Parser;
use kit::Outcome;

pub use cli::command;
use cli::{Cli, Task};
pub use report::{Report, ReportOutcome};
pub use source::setting_problem;

/// Directory of script, record and lock.
pub const STATE_DIRECTORY: &str = "/var/lib/leonardo/provisioning";
/// Log of the script's output.
pub const LOG: &str = "/var/log/provisioning.log";
/// Path at which a script can be mounted.
pub const MOUNTED_SCRIPT: &str = "/opt/leonardo/bin/provisioning.sh";

/// Returns the recorded result of this attempt, for when `provision` was killed before it could report.
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
