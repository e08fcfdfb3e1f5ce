//! Account and environment of the program.

use std::path::Path;

use anyhow::{Result, bail};
use env_store::Store;
use kit::system_account::Account;
use kit::{Env, exec_limit};
use nix::unistd::geteuid;

/// Variable with the public port of its service, in every program that `service-run` starts and in what these leave behind.
pub const MARK: &str = "LEONARDO_SERVICE";

/// Gives up root's rights for those of the named account or of the system user, and returns that account; `None` if this
/// process keeps its rights.
pub fn switch(user: Option<&str>) -> Result<Option<Account>> {
    let is_root = geteuid().is_root();
    let account = match user {
        Some("root") if is_root => return Ok(None),
        Some("root") => bail!("cannot switch to user root: not root"),
        Some(name) => Account::named(name)?,
        None if is_root => Account::of(&Env::from_process())?,
        None => return Ok(None),
    };
    if account.uid != geteuid().as_raw() {
        account.switch()?;
    }
    Ok(Some(account))
}

/// Returns the environment of the program: ours, the stored variables over it, and the account's.
pub fn environment(store: &Path, account: Option<&Account>, port: u16) -> Env {
    let mut env = Env::from_process();
    match Store::read(store) {
        Ok(store) => store.iter().for_each(|(name, value)| env.set(name, value)),
        Err(error) => log::warn!("the program runs without the stored variables: {error:#}"),
    }
    for problem in exec_limit::drop_oversized(&mut env) {
        log::warn!("{problem}");
    }
    if let Some(account) = account {
        account.set_variables(&mut env);
    }
    env.set(MARK, port.to_string());
    env
}
