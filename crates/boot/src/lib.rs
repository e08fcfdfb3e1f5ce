//! Run the late boot stages and report their progress.
//!
//! supervisord runs `boot run` once; `supervisorctl start boot` runs it again, because every stage is idempotent.
//! Preflight, provisioning, programs and ready run one after another; permissions and sync run beside them from the
//! start, and may end after ready. Each stage writes its start and its end to the boot journal, which the portal, `boot
//! report` and the banner at login read. A stage that fails is reported there and does not stop the later ones.
//!
//! Two markers show the progress to scripts of extended images: `/run/workspace_sync` exists until the sync stage has
//! ended, `/run/container_config` until provisioning has ended. `boot wait STAGE` waits for either without a loop.

mod banner;
mod boot_state;
mod cli;
mod health;
mod hook;
mod permissions;
mod preflight;
mod programs;
mod provisioning;
mod report;
mod run;
mod shutdown;
mod stage_outcome;
mod stage_process;
mod summary;
mod supervisorctl;
mod sync;
mod wait;

use std::io::{self, Write};
use std::path::Path;

use clap::Parser;
use journal::{Journal, SettingProblem, Timeline};
use kit::{Exit, Outcome, Problem};
use tunnels::Tunnels;

use boot_state::BootState;
pub use cli::command;
use cli::{Cli, Task};
pub use preflight::problems as hook_problems;
pub use programs::{ProgramFiles, program_files};

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    let journal = Journal::new(&cli.journal);
    match cli.task {
        Task::Run(paths) => run::run_stages(journal, &paths),
        Task::Report { json } => print(&journal, tunnel_problems(&cli.journal), |seen| {
            if json { report::json(seen) } else { Ok(report::text(seen, journal::unix_time())) }
        }),
        Task::Wait(wait) => wait::wait(&journal, &wait),
        // Without tunnels: a machine without internet must not repeat that at each login.
        Task::Banner => print(&journal, Vec::new(), |seen| Ok(banner::text(seen, journal::unix_time()))),
        Task::Health => health::check(&down_programs(&journal)),
    }
}

/// Returns a problem for each program that is down.
fn down_programs(journal: &Journal) -> Vec<SettingProblem> {
    journal.down_programs().into_iter().map(SettingProblem::from).collect()
}

/// Returns the problems with tunnels, whose status files are beside the journal.
fn tunnel_problems(journal: &Path) -> Vec<SettingProblem> {
    let problems = Tunnels::read(journal.parent().unwrap_or(Path::new("/"))).problems();
    let of_report = |Problem { setting, message }| SettingProblem { setting, message };
    problems.into_iter().map(of_report).collect()
}

/// Prints the journal, with problems that are not in it, as `render` formats it.
fn print(
    journal: &Journal,
    problems: Vec<SettingProblem>,
    render: impl FnOnce(&BootState) -> anyhow::Result<String>,
) -> Outcome {
    let mut timeline = Timeline::from_entries(&journal.read()?);
    // First, because the banner shows only a few: they may explain why the portal or SSH is unreachable.
    let proxy = journal::proxy_problem(Path::new(journal::PROXY_PROBLEM_FILE));
    timeline.problems.splice(0..0, down_programs(journal).into_iter().chain(proxy));
    timeline.problems.extend(problems);
    let seen = BootState::load(timeline);
    io::stdout().write_all(render(&seen)?.as_bytes())?;
    Ok(Exit::Done)
}
