//! Removes unused variables from this process's environment.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Context, Result, anyhow};

/// Re-executes this program with only those variables that `wanted` accepts; does nothing if there are no others.
///
/// supervisord passes its whole environment to every program, and `/proc/PID/environ` keeps it readable for the
/// program's account. A program that faces the network should not hold what it does not use.
pub fn reexec_with(wanted: impl Fn(&str) -> bool) -> Result<()> {
    let (kept, dropped): (Vec<_>, Vec<_>) =
        std::env::vars_os().partition(|(name, _)| name.to_str().is_some_and(&wanted));
    if dropped.is_empty() {
        return Ok(());
    }
    let mut arguments = std::env::args_os();
    let name = arguments.next().unwrap_or_else(|| OsString::from("leonardo"));
    // By its path: started through /proc/self/exe it would be listed as "exe".
    let program = std::env::current_exe().context("cannot find the running executable")?;
    let error = Command::new(program).arg0(name).args(arguments).env_clear().envs(kept).exec();
    Err(anyhow!("cannot re-execute with a reduced environment: {error}"))
}
