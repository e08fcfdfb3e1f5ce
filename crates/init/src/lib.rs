//! Prepare the container at its start, then become supervisord.
//!
//! `init.sh` runs this as the container's first process. It reads `NAME=VALUE` parameters and the environment,
//! decides all settings once, and brings directories, keys, credentials, the system user and the environment
//! store into the state that follows from them. Every step is local and quick (no network, no waiting, no walk
//! over a tree) and changes nothing that is already right, so `docker restart` repeats it harmlessly.
//!
//! Where another program is the container's first process, `init.sh --detach` does the same, then starts supervisord in the
//! background and exits.
//!
//! In a running container (providers' on-start hooks run `init.sh` there) it compares settings and changes nothing.
//!
//! A bad *value* never stops a start, nor does a file or a directory that cannot be read or written: it is reported
//! (container log, boot journal, portal) and the safe default is used. Few things do: a bad *parameter* (no `=`, exit
//! code 2), missing rights, an image without its accounts, a kernel without random numbers, and a supervisord that cannot
//! be run. Then this process becomes supervisord, so that PID 1 reaps orphans and turns SIGTERM into an orderly stop.

mod accounts;
mod autostart;
mod capabilities;
mod cli;
mod container_environment;
mod detached;
mod digest;
mod environment_store;
mod exec_supervisord;
mod foreign_sshd;
mod foreign_state;
mod home;
mod id_conflict;
mod limits;
mod misspelling;
mod owned_directory;
mod parameters;
mod running_supervisord;
mod runtime_directories;
mod search_path;
mod secret_files;
mod secrets;
mod setting_diff;
mod settings;
mod ssh_keys;
mod sudo;
mod system_user;
mod tls;
mod tunnel_token;
mod user_password;
mod web_credentials;
mod workspace_access;
mod workspace_directory;

use std::path::Path;
use std::time::Instant;

use anyhow::Result;
use clap::Parser;
use environment_store::Loaded;
use journal::{Event, Journal};
use kit::{Env, Exit, Outcome, Problem, SettingsReader, variables};
use setting_diff::{CurrentSettings, SettingDiff};
use web_login::Login;

pub use cli::command;
pub use exec_supervisord::{CONFIGURATION, SUPERVISORD};
pub use misspelling::problems as misspelled_variables;

/// Returns the problems that each start with these variables reports, for checks of an image; not those of keys and
/// `OPT_SYNC`.
#[must_use]
pub fn invalid_variables(env: &Env) -> Vec<Problem> {
    settings::Settings::read(env).1.into_iter().chain(gpu_limit::setting_problem(env)).collect()
}

/// Runs the command line; returns only if supervisord is already running or cannot be started.
pub fn run() -> Outcome {
    let started = Instant::now();
    let cli = cli::Cli::try_parse()?;
    if cli.become_supervisord {
        return Err(detached::become_supervisord());
    }
    let parameters = parameters::parse(&cli.parameters)?;
    let mut env = Env::from_process();
    let mut problems = Vec::new();
    // Until this process exits.
    let _only_start = cli.detach.then(detached::begin).transpose()?;
    let mut loaded = Loaded::of(&env);
    if cli.detach {
        env = container_environment::complete(env, &loaded, &mut problems);
    } else {
        loaded.remove_foreign_secrets(&mut env);
    }
    for (name, value) in &parameters {
        env.set(name, value);
        loaded.forget(name);
    }
    problems.extend(secret_files::read(&mut env, &loaded));
    if let Some(current) = running_supervisord::environment(cli.detach)? {
        problems.iter().for_each(|problem| log::warn!("{problem}"));
        let given = if cli.detach { container_environment::settings(&env, &parameters) } else { env };
        return Ok(compare_settings(given, &current));
    }
    capabilities::Rights::check()?;
    if cli.detach {
        detached::end_orphans()?;
    }
    prepare(&mut env, cli.detach, &mut problems)?;
    let log = cli.detach.then(|| detached::container_log(&mut problems));
    report(&problems, started);
    match log {
        Some(log) => detached::run(&env, log),
        None => Err(exec_supervisord::exec(&env)),
    }
}

/// Lists the given settings that differ from those in use; changes nothing.
fn compare_settings(mut given: Env, current: &Env) -> Exit {
    let gpus = gpu_limit::limit(&given, &gpu_limit::discover(&gpu_limit::KernelRoot::default()));
    gpus.variables.into_iter().for_each(|(name, value)| given.set(name, value));
    let (mut settings, _) = settings::Settings::read(&given);
    accounts::resolve_name(&mut settings, &mut Vec::new());
    if given.text("USER_NAME").is_some() {
        given.set("USER_NAME", settings.user_name.as_str());
    }
    let password = settings.user_password.as_ref();
    let login = Login::read(Path::new(web_login::path())).unwrap_or_default();
    let current = CurrentSettings {
        env: current,
        login: login.as_ref(),
        user_password: password
            .is_some_and(|password| user_password::is_current(&settings.user_name, password)),
        tunnel_token: tunnel_token::current(),
    };
    let differences = setting_diff::diff(&given, &current);
    if differences.is_empty() {
        log::info!("supervisord is already running with these settings; nothing to do");
        return Exit::Done;
    }
    log::warn!(
        "supervisord is already running with different settings; nothing was changed. To apply each setting:"
    );
    for SettingDiff { name, remedy } in differences {
        log::warn!("{name}: {remedy}");
    }
    Exit::No
}

/// Brings the container into the state that `env` asks for, and adds to `env` the variables that programs inherit.
/// `detach`: another program is the first process.
fn prepare(env: &mut Env, detach: bool, problems: &mut Vec<Problem>) -> Result<()> {
    search_path::complete(env);
    let (mut settings, invalid) = settings::Settings::read(env);
    problems.extend(invalid);
    problems.extend(misspelling::problems(env));
    accounts::resolve_name(&mut settings, problems);
    let leonardo = accounts::group_id("leonardo")?;
    let rights = capabilities::Rights::of_process()?;
    problems.extend(rights.problems(settings.ssh_port));
    // Before anything reads state that another container may have left.
    foreign_state::remove_foreign(detach, problems);
    id_conflict::resolve(&settings.workspace, problems);
    limits::raise(problems);
    runtime_directories::prepare(leonardo, problems)?;
    // Before anything slow: a query during a restart must not return the journal of the boot before it.
    note_failure("journal", Journal::new(Path::new(journal::PATH)).reset(), problems);
    let keys = ssh_keys::install(&settings, problems);
    note_failure("CF_TUNNEL_TOKEN", tunnel_token::write(settings.tunnel_token.as_ref()), problems);
    let web = web_credentials::ensure(&settings.web, problems)?;
    if settings.web.enable_https {
        tls::install(env, accounts::user_id("caddy")?, problems);
    }
    // Invalid values are reported where the setting is used.
    let synced = SettingsReader::new(env).switch(&variables::WORKSPACE_SYNC);
    let mut workspace = workspace_directory::prepare(
        settings.workspace.clone(),
        settings.image_slug.clone(),
        synced,
        problems,
    );
    // Programs find the workspace's environments from the start, if they exist.
    let memory = Path::new(workspace_sync::STATE_DIR);
    problems.extend(workspace_sync::adopt(Path::new("/opt"), &workspace, env, memory));
    let gpus = gpu_limit::limit(env, &gpu_limit::discover(&gpu_limit::KernelRoot::default()));
    accounts::ensure_user(&settings, &mut workspace, problems);
    workspace_directory::ensure_storage(&workspace, problems);
    // The account has the password now, and cloudflared the token; no program and no session needs the variables.
    env.unset("USER_PASSWORD");
    env.unset("CF_TUNNEL_TOKEN");
    env.set("WEB_ENABLE_AUTH", settings.web.enable_auth.to_string());
    env.set("WEB_ENABLE_HTTPS", settings.web.enable_https.to_string());
    web.env_variables().into_iter().for_each(|(name, value)| env.set(name, value));
    workspace.export_to(env);
    let sshd = !keys.is_empty() && rights.sshd_works() && !foreign_sshd::holds(settings.ssh_port, problems);
    autostart::export(&settings, sshd, env);
    gpus.variables.into_iter().for_each(|(name, value)| env.set(name, value));
    problems.extend(gpus.problems);
    problems.extend(kit::exec_limit::drop_oversized(env));
    let stored = environment_store::persist(env, problems);
    note_failure("environment", stored, problems);
    Ok(())
}

/// Records a failure as a problem: the start continues.
fn note_failure(about: &str, done: Result<()>, problems: &mut Vec<Problem>) {
    if let Err(error) = done {
        problems.push(Problem::new(about, format!("{error:#}")));
    }
}

/// Writes the problems and the duration to the container's log and the journal.
fn report(problems: &[Problem], started: Instant) {
    let journal = Journal::new(Path::new(journal::PATH));
    let milliseconds = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    problems.iter().for_each(|problem| log::warn!("{problem}"));
    let events = problems
        .iter()
        .map(|Problem { setting, message }| Event::Problem {
            setting: setting.clone(),
            message: message.clone(),
        })
        .chain([Event::InitEnded { milliseconds }]);
    if let Err(error) = events.map(|event| journal.append(event)).collect::<Result<Vec<()>>>() {
        log::warn!("{error:#}");
    }
}
