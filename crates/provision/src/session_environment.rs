//! Environment of a run: that of a session.

use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow};
use kit::Env;

use crate::cli::Cli;

/// Returns the environment of a session. After sudo, it is nearly empty; then this program executes itself with the stored
/// variables, because libraries read some by themselves.
pub fn session_environment(cli: &Cli) -> Result<Env> {
    let given = Env::from_process();
    let session = env_store::session_env(given.clone(), &cli.store);
    if session == given {
        return Ok(given);
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| "provision".into());
    let program = std::env::current_exe().context("cannot find the running executable")?;
    let error = Command::new(program).arg0(name).args(arguments).env_clear().envs(session.iter()).exec();
    Err(anyhow!("cannot re-execute with the stored variables: {error}"))
}
