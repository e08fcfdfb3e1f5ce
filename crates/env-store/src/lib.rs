//! Manage the environment variables of every session.
//!
//! A container's variables reach its first process only; SSH sessions, `su -` and editors start without them.
//! The store is one shell file, `/opt/leonardo/etc/environment.sh`, that every kind of shell reads at its start
//! (`/etc/profile.d`, `/etc/bash.bashrc`) and that [`Store`] reads and replaces atomically. Values are single-quoted
//! bytes: nothing in them is ever executed, and any byte a variable may hold comes back unchanged.

mod cli;
mod container_record;
mod quote;
mod secret_name;
mod session_env;
mod store;
mod url_credentials;
mod variable_name;

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::io::{self, Write};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;
use std::process::Command;

use clap::Parser;
use kit::{Env, Exit, Outcome, UsageError, exec_limit};

pub use cli::command;
pub use container_record::ContainerRecord;
pub use secret_name::looks_secret;
pub use session_env::{session_env, settings_in_force};
pub use store::Store;
pub use url_credentials::find_url_credentials;
pub use variable_name::{Refusal, VERSION_VARIABLE, check_storable};

/// Path of the store.
pub const PATH: &str = "/opt/leonardo/etc/environment.sh";

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = cli::Cli::try_parse()?;
    let path = cli.file.as_path();
    match cli.task {
        cli::Task::Set { assignments } => set(path, &assignments),
        cli::Task::Unset { names } => unset(path, &names),
        cli::Task::List { show_secrets, json } => list(path, show_secrets, json),
        cli::Task::Exec { command } => exec(path, &command),
    }
}

fn set(path: &Path, assignments: &[OsString]) -> Outcome {
    let mut pairs = Vec::new();
    for assignment in assignments {
        let (name, value) = variable_name::parse_assignment(assignment)?;
        check_storable(&name).map_err(|refusal| UsageError(format!("{name}: {refusal}")))?;
        pairs.push((name, value));
    }
    Store::update(path, |store| pairs.into_iter().for_each(|(name, value)| store.set(name, value)))?;
    Ok(Exit::Done)
}

fn unset(path: &Path, names: &[String]) -> Outcome {
    Store::update(path, |store| names.iter().for_each(|name| store.unset(name)))?;
    Ok(Exit::Done)
}

fn list(path: &Path, show_secrets: bool, json: bool) -> Outcome {
    let store = Store::read(path)?;
    let variables = store.iter().map(|(name, value)| {
        let shown = if show_secrets { value.to_owned() } else { masked(name, value) };
        (name, shown.to_string_lossy().into_owned())
    });
    let mut out = io::stdout().lock();
    if json {
        let object: BTreeMap<&str, String> = variables.collect();
        writeln!(out, "{}", serde_json::to_string(&object)?)?;
    } else {
        for (name, value) in variables {
            writeln!(out, "{name}={value}")?;
        }
    }
    Ok(Exit::Done)
}

/// Returns the value as it may be read over the user's shoulder.
fn masked(name: &str, value: &OsStr) -> OsString {
    const MASK: &[u8] = b"********";
    if looks_secret(name) {
        return OsString::from_vec(MASK.to_vec());
    }
    let mut shown = value.as_bytes().to_vec();
    // From the end, so that earlier ranges stay valid.
    for range in find_url_credentials(value.as_bytes()).into_iter().rev() {
        shown.splice(range, MASK.iter().copied());
    }
    OsString::from_vec(shown)
}

fn exec(path: &Path, words: &[OsString]) -> Outcome {
    let mut env = Env::from_process();
    Store::read(path)?.iter().for_each(|(name, value)| env.set(name, value));
    for problem in exec_limit::drop_oversized(&mut env) {
        log::warn!("{problem}");
    }
    let Some((program, arguments)) = words.split_first() else {
        return Err(UsageError("no command given".to_owned()).into());
    };
    Ok(kit::cmd::exec(Command::new(program).args(arguments).env_clear().envs(env.iter())))
}
