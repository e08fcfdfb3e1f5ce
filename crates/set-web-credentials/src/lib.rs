//! Change the user, password or token of the web services.
//!
//! The portal checks the file of the login with every request. Replacing that file therefore changes the login and ends all
//! sessions at once, without a restart. Then the environment store gets the new `WEB_*` variables, for shells and programs
//! that start from now on.
//!
//! After a kill at any instant, one login works: the old or the new one. Between the two steps, new shells would still get
//! the old variables until this command or the container is started again. Concurrent runs wait for each other.

mod cli;
mod echo_off;
mod login_change;
mod password_prompt;

use std::io::{self, ErrorKind, Write};
use std::time::Duration;

use anyhow::{Context, Result, anyhow};
use clap::Parser;
use env_store::Store;
use kit::lock::Lock;
use kit::{Exit, HintExt, Outcome, Secret, UsageError, atomic};
use web_login::Login;

use cli::Cli;
pub use cli::command;
use login_change::LoginChange;

/// Timeout for another run to finish; a change takes milliseconds.
const LOCK_TIMEOUT: Duration = Duration::from_secs(10);

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if let Some(user) = &cli.user {
        web_login::check_user(user).map_err(|problem| UsageError(format!("USER {problem}")))?;
    }
    let owner = owner(&cli.account)?;
    // Fails before a password is typed in vain; acquired after it, because typing takes time.
    let lock = open_lock(&cli)?;
    let change = requested_change(&cli)?;
    lock.acquire(LOCK_TIMEOUT)?;
    let (login, changed) = replace(&cli, change, owner)?;
    // Printed before anything else can fail: the generated password is stored nowhere in plain view.
    let printed = if cli.generate { writeln!(io::stdout(), "{}", login.password.expose()) } else { Ok(()) };
    let stored = update_environment(&cli, &login)
        .context("the login was changed, but the environment store was not")?;
    printed?;
    report(changed, stored);
    Ok(Exit::Done)
}

/// Returns the user and group id of the account that reads the login.
fn owner(account: &str) -> Result<(u32, u32)> {
    let user = uzers::get_user_by_name(account).ok_or_else(|| anyhow!("user {account} does not exist"));
    user.map(|user| (user.uid(), user.primary_group_id()))
        .hint(|| "run this inside a container of the base image".to_owned())
}

/// Opens the lock file, which only root can.
fn open_lock(cli: &Cli) -> Result<Lock> {
    Lock::open(&cli.lock).or_else(|error| {
        let denied = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        if denied.map(io::Error::kind).any(|kind| kind == ErrorKind::PermissionDenied) {
            return Err(error.context("only root can change the login"))
                .hint(|| "run: sudo set-web-credentials …".to_owned());
        }
        Err(error)
    })
}

/// Returns the change that the command line asks for; the password may come from the prompt.
fn requested_change(cli: &Cli) -> Result<LoginChange> {
    let generated = |text: Result<String>| text.map(Secret::new);
    let password = match (&cli.user, &cli.password) {
        _ if cli.generate => generated(web_login::password())?,
        (_, Some(password)) => Some(password_prompt::validate(password.clone())?),
        (Some(user), None) => Some(password_prompt::password(user)?),
        (None, None) => None,
    };
    let token = if cli.rotate_token { generated(web_login::token())? } else { None };
    Ok(LoginChange { user: cli.user.clone(), password, token })
}

/// Replaces the login; returns it, and true if it differs from the old one.
fn replace(cli: &Cli, change: LoginChange, owner: (u32, u32)) -> Result<(Login, bool)> {
    // A killed run may have left a temporary file with a password.
    atomic::remove_leftovers(&cli.login)?;
    let before = Login::read(&cli.login)
        .and_then(|login| login.with_context(|| format!("there is no login at {}", cli.login.display())))
        .hint(|| "restart the container to create a login: docker restart NAME".to_owned())?;
    let after = change.apply_to(before);
    let changed = after.write(&cli.login, owner)?;
    Ok((after, changed))
}

/// Stores the login in the environment of new shells; returns true if that changed anything.
fn update_environment(cli: &Cli, login: &Login) -> Result<bool> {
    atomic::remove_leftovers(&cli.environment)?;
    Store::update(&cli.environment, |store| {
        login.env_variables().into_iter().for_each(|(name, value)| store.set(name, value));
    })
}

/// Reports the result on stderr.
fn report(changed: bool, stored: bool) {
    log::info!(
        "{}",
        if changed {
            "login changed; all sessions and API tokens were ended"
        } else {
            "nothing to change: this login is already set"
        }
    );
    if stored {
        log::info!("new shells get the new WEB_ variables; running programs keep the old ones");
    }
}
