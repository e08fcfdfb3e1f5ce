//! Copy environments and services to the workspace and use them from there.
//!
//! The image contains a tree such as `/opt/micromamba` as a symbolic link to `/opt/.image/micromamba`, which is never
//! deleted. With `WORKSPACE_SYNC=true` and a mounted workspace, `workspace-sync run` copies it to
//! `$WORKSPACE/environments/micromamba-$IMAGE_SLUG` while programs use the image's tree, and then points
//! `/opt/micromamba` to the copy in one rename. Absolute paths in environments begin with `/opt/micromamba` and stay
//! valid.
//!
//! # Complete copies only
//!
//! A copy is made as `NAME.partial`, compared with its source, marked as complete (`.move_complete`), and renamed.
//! After a failure before the rename, the image's tree stays in use, and the next attempt resumes. A directory with our
//! name and without a marker is not ours: it is refused, never merged into.
//!
//! # No write is lost
//!
//! Passes copy changes until there are none; changes around the switch, and later ones through open files, are copied
//! afterwards. If both trees were written, lines are appended to text files; a file that was saved again, and anything
//! else, is kept as `NAME.before-switch`. Processes that still write to the old tree are reported.
//!
//! # Later starts
//!
//! `init` points `/opt/NAME` to a complete copy before any program runs ([`adopt`]), for every value of
//! `WORKSPACE_SYNC`. A copy of another generation of the image is used and reported; `refresh` replaces it, copies the
//! user's work, and keeps the old copy for `rollback`. The user's work is recognized by the listing of the image's
//! entries, which a container makes at its first start (`snapshot`) and which each copy contains.

mod active_link;
mod adopt;
mod change_origin;
mod changed_since;
mod claim_lease;
mod cli;
mod container_id;
mod copied_state;
mod copy_command;
mod copy_job;
mod copy_marker;
mod decision;
mod delta_rounds;
mod delta_sync;
mod directory_entry;
mod ensure_beneath;
mod failure;
mod first_start;
mod follow;
mod generation;
mod holders;
mod image_listing;
mod journal_notes;
mod leftovers;
mod listing_file;
mod merge_policy;
mod mount_check;
mod opt_sync;
mod partial_claim;
mod progress;
mod provisioning_gate;
mod refresh;
mod replace_directory;
mod report;
mod reserved_names;
mod retry;
mod round_result;
mod run;
mod status;
mod steps;
mod sync_context;
mod sync_state;
mod tree_paths;
mod tree_state;
mod user_additions;
mod verify;
mod volume_clock;
mod write_check;

use std::io::{self, Write};
use std::path::Path;
use std::time::Duration;

use clap::Parser;
use journal::Journal;
use kit::quote::escape_control_line;
use kit::variables;
use kit::{Env, Exit, HintExt, Outcome, SettingsReader};
use serde::Serialize;
use workspace::Workspace;

pub use adopt::adopt;
pub use cli::command;
use cli::{Cli, DryRun, Task};
pub use holders::Holder;
pub use opt_sync::{check_tree_name, parse as parse_opt_sync};
use partial_claim::Claim;
use provisioning_gate::ProvisioningGate;
pub use report::{ActiveCopy, Outcome as TreeOutcome, Report};
pub use sync_context::STATE_DIR;
use sync_context::{SyncContext, find_tree, lock, select_trees};
use tree_paths::TreePaths;
use volume_clock::Timestamp;

/// Time for one round of the follower; another command may hold the lock for longer.
const LOCK_TIMEOUT: Duration = Duration::from_secs(5);

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    cli.verbosity.apply();
    kit::open_files::raise();
    // From the start, because counting and comparing read as much as copying does.
    if !cli.full_speed && !matches!(cli.task, Task::Status { .. } | Task::Snapshot) {
        tree_copy::lower_priority();
    }
    if let Task::Copy { source, target, options } = &cli.task {
        return copy_command::copy(source, target, *options);
    }
    let env = env_store::settings_in_force(Env::from_process(), Path::new(env_store::PATH));
    let (workspace, problems) = Workspace::from_env(&env);
    let mut reader = SettingsReader::new(&env);
    let wanted = reader.switch(&variables::WORKSPACE_SYNC);
    let (names, refused) = opt_sync::parse(reader.text("OPT_SYNC").as_deref());
    for problem in problems.iter().chain(&reader.into_problems()).chain(&refused) {
        log::warn!("{problem}");
    }
    let journal = Journal::new(&cli.journal);
    let trees = trees(&cli, &names, &workspace);
    let setting = SyncContext {
        workspace: &workspace,
        wanted,
        state_dir: &cli.state_dir,
        claim: match claim(&cli) {
            Err(error) if matches!(cli.task, Task::Follow) => return Err(follow::delay_restart(error)),
            claim => claim.inspect_err(|error| report_no_beginning(&cli, &trees, error))?,
        },
        compare_content: matches!(cli.task, Task::Run { verify: Some(_), .. }),
        first_start: first_start::load(&cli.state_dir).or_else(|| started(&journal)),
        journal: &journal,
    };
    if !cli.task.is_exclusive() {
        return act(&cli, &setting, &trees);
    }
    let lock = lock(&cli.state_dir).inspect_err(|error| report_no_beginning(&cli, &trees, error))?;
    lock.acquire(LOCK_TIMEOUT)
        .map_err(|_| anyhow::anyhow!("another workspace-sync is running in this container"))
        .hint(|| "it may wait for provisioning to end; see: workspace-sync status".to_owned())?;
    act(&cli, &setting, &trees)
}

/// Reports to late boot that a run cannot start: if the container's disk is full, the log is incomplete.
fn report_no_beginning(cli: &Cli, trees: &[TreePaths], error: &anyhow::Error) {
    let Task::Run { json: true, .. } = cli.task else { return };
    let (cause, hint) = (escape_control_line(&format!("{error:#}")), failure::hint(error));
    for tree in trees {
        let report = Report {
            outcome: TreeOutcome::Failed,
            in_use: active_link::active_copy(tree),
            cause: Some(cause.clone()),
            hint: hint.clone(),
            retrying: true,
            ..Report::new(tree)
        };
        if let Err(error) = print(true, &report, "") {
            log::debug!("{error:#}");
        }
    }
}

fn act(cli: &Cli, setting: &SyncContext<'_>, trees: &[TreePaths]) -> Outcome {
    match &cli.task {
        Task::Run { json, dry: DryRun { dry_run: true }, .. } => {
            for tree in trees {
                for step in setting.steps(tree)? {
                    let (name, step) = (&tree.name, step.describe(tree));
                    let text = format!("{name}: {step}");
                    print(*json, &serde_json::json!({ "tree": name, "step": step }), &text)?;
                }
            }
            Ok(Exit::Done)
        }
        Task::Run { json, .. } => {
            let mut exit = Exit::Done;
            let mut remark = None;
            let quiet_after = Duration::from_millis(cli.quiet_after);
            let retry_after = Duration::from_millis(cli.retry_after);
            let mut gate = ProvisioningGate::new(cli.provisioning.clone(), quiet_after, retry_after);
            run::sync_all(setting, trees, &mut gate, &mut |report| {
                if report.outcome == report::Outcome::Failed {
                    exit = Exit::No;
                }
                remark = remark.take().or_else(|| Some((report.remark()?, report.hint.clone())));
                print(*json, report, &report.line())?;
                if let Some(hint) = report.hint.as_ref().filter(|_| !json) {
                    writeln!(io::stderr(), "hint: {hint}")?;
                }
                Ok(())
            })?;
            if exit == Exit::Done {
                retry::record_success(setting.journal, remark);
            }
            Ok(exit)
        }
        Task::Snapshot => {
            for tree in trees {
                setting.listing(tree)?;
            }
            Ok(Exit::Done)
        }
        Task::Status { json } => {
            for tree in trees {
                let status = status::collect(setting, tree);
                print(*json, &status, status.to_string().trim_end())?;
            }
            Ok(Exit::Done)
        }
        Task::Verify { names, hash, json } => verify::run(setting, select_trees(trees, names)?, *hash, *json),
        Task::Refresh { name, dry } => refresh::run(setting, find_tree(trees, name)?, dry.dry_run),
        Task::Rollback { name, dry } => refresh::rollback(setting, find_tree(trees, name)?, dry.dry_run),
        Task::Follow => {
            follow::run(setting, trees, cli.another_run()?, Duration::from_millis(cli.retry_after))
        }
        Task::Copy { .. } => Ok(Exit::Done),
    }
}

fn print(json: bool, value: &impl Serialize, text: &str) -> anyhow::Result<()> {
    if json {
        serde_json::to_writer(io::stdout(), value).map_err(io::Error::from)?;
        writeln!(io::stdout())?;
    } else {
        writeln!(io::stdout(), "{text}")?;
    }
    Ok(())
}

fn trees(cli: &Cli, names: &[String], workspace: &Workspace) -> Vec<TreePaths> {
    std::iter::once(opt_sync::ENVIRONMENTS)
        .chain(names.iter().map(String::as_str))
        .map(|name| TreePaths::new(name, &cli.opt, &workspace.path, &workspace.slug))
        .collect()
}

fn claim(cli: &Cli) -> anyhow::Result<Claim> {
    let container = container_id::load_or_create(&cli.state_dir)?;
    tree_copy::set_container_id(&container);
    Ok(Claim {
        tree: String::new(),
        container,
        instance: kit::start_id::id().to_owned(),
        host: nix::unistd::gethostname().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
        boot: kit::start_id::boot_id().unwrap_or_default(),
        waiting: false,
    })
}

/// Returns the time of the journal's first event, a little earlier, because clocks are coarse.
fn started(journal: &Journal) -> Option<Timestamp> {
    let entries = journal.read().ok()?;
    #[allow(clippy::cast_possible_truncation, reason = "seconds since 1970 fit")]
    let seconds = entries.first()?.at as i64;
    Some(Timestamp(seconds, 0).safely_before())
}
