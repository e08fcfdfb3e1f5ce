//! Change user, password or token of the web services while they run.
//!
//! The portal looks at the login's file with every request, so replacing that file is all it takes: the new login is in
//! force and every session has ended, with no restart and no moment without a login. Then the environment store gets the
//! new `WEB_*` variables, for shells and programs that start from now on.
//!
//! In this order, a kill at any instant leaves a login that works, the former or the new one; between the two steps new
//! shells would still see the former, until this or the container is started again. Two at the same time wait for each
//! other.

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

/// A change takes milliseconds; one that takes longer hangs.
const PATIENCE: Duration = Duration::from_secs(10);

/// Runs the command line.
pub fn run() -> Outcome {
    let cli = Cli::try_parse()?;
    if let Some(user) = &cli.user {
        web_login::check_user(user).map_err(|problem| UsageError(format!("USER {problem}")))?;
    }
    let owner = owner(&cli.account)?;
    // Opened before anybody types a password in vain, and held afterwards, because typing takes time.
    let lock = open(&cli)?;
    let change = requested_change(&cli)?;
    lock.acquire(PATIENCE)?;
    let (login, changed) = replace(&cli, change, owner)?;
    // Before anything else can fail: nobody else knows a password that was made here.
    let printed = if cli.generate { writeln!(io::stdout(), "{}", login.password.expose()) } else { Ok(()) };
    let stored = publish(&cli, &login).context("the login is in force, but new shells do not see it")?;
    printed?;
    report(changed, stored);
    Ok(Exit::Done)
}

/// The account that may read the login besides root.
fn owner(account: &str) -> Result<(u32, u32)> {
    let user = uzers::get_user_by_name(account).ok_or_else(|| anyhow!("the image has no user {account}"));
    user.map(|user| (user.uid(), user.primary_group_id()))
        .hint(|| "this runs inside a container made from the base image".to_owned())
}

fn open(cli: &Cli) -> Result<Lock> {
    Lock::open(&cli.lock).or_else(|error| {
        let denied = error.chain().filter_map(|cause| cause.downcast_ref::<io::Error>());
        if denied.map(io::Error::kind).any(|kind| kind == ErrorKind::PermissionDenied) {
            return Err(error.context("only root may change the login"))
                .hint(|| "sudo set-web-credentials …".to_owned());
        }
        Err(error)
    })
}

/// What the command line asks for, with a password that was typed, read or made.
fn requested_change(cli: &Cli) -> Result<LoginChange> {
    let made = |text: Result<String>| text.map(Secret::new);
    let password = match (&cli.user, &cli.password) {
        _ if cli.generate => made(web_login::password())?,
        (_, Some(password)) => Some(password_prompt::validate(password.clone())?),
        (Some(user), None) => Some(password_prompt::password(user)?),
        (None, None) => None,
    };
    let token = if cli.rotate_token { made(web_login::token())? } else { None };
    Ok(LoginChange { user: cli.user.clone(), password, token })
}

/// Replaces the login; returns it, and whether it is another now.
fn replace(cli: &Cli, change: LoginChange, owner: (u32, u32)) -> Result<(Login, bool)> {
    // A killed run may have left a file with a password in it.
    atomic::remove_leftovers(&cli.login)?;
    let before = Login::read(&cli.login)
        .and_then(|login| login.with_context(|| format!("there is no login at {}", cli.login.display())))
        .hint(|| "a start of the container makes one: docker restart".to_owned())?;
    let after = change.apply_to(before);
    let changed = after.write(&cli.login, owner)?;
    Ok((after, changed))
}

/// Puts the login into the environment store; returns whether that has changed.
fn publish(cli: &Cli, login: &Login) -> Result<bool> {
    atomic::remove_leftovers(&cli.environment)?;
    Store::update(&cli.environment, |store| {
        login.env_variables().into_iter().for_each(|(name, value)| store.set(name, value));
    })
}

fn report(changed: bool, stored: bool) {
    log::info!(
        "{}",
        if changed {
            "the new login is in force, and all sessions have ended"
        } else {
            "this login is in force already, and sessions go on"
        }
    );
    if stored {
        log::info!("new shells have it; what runs already keeps the old WEB_ variables");
    }
}
