//! The process that becomes cloudflared.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};
use kit::{Exit, Outcome, UsageError, cmd, privileges};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{Pid, getppid};

/// Becomes `account` without any privilege, then the command, which is killed when `parent` exits: a second cloudflared for
/// the same port would be another tunnel.
pub fn run(account: &str, parent: i32, command: &[OsString]) -> Outcome {
    let [program, arguments @ ..] = command else { return Err(UsageError("no command".to_owned()).into()) };
    // tunnel-run waits for signals that cloudflared has to receive.
    SigSet::empty().thread_set_mask().context("cannot set the signal mask")?;
    privileges::drop_to(account)?;
    if !is_child_of(parent)? {
        return Ok(Exit::No);
    }
    Ok(cmd::exec(Command::new(program).args(arguments)))
}

/// Arranges the signal, which a change of ids would clear; false if the parent has exited before.
fn is_child_of(parent: i32) -> Result<bool> {
    set_pdeathsig(Signal::SIGKILL).context("cannot arrange to be killed with tunnel-run")?;
    Ok(getppid() == Pid::from_raw(parent))
}
