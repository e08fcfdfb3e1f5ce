//! `provision launch`: becomes the script, as the system user in a session of its own.
//!
//! It waits for one byte from `provision`, so that nothing runs unguarded, and has the kernel kill it with its parent.

use std::fs::File;
use std::io::Read;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result, bail};
use kit::system_account::{Account, SHELL};
use kit::{Env, Exit, Outcome};
use nix::sys::prctl;
use nix::sys::signal::{SigSet, Signal};
use nix::unistd::{self, Pid};

use crate::cli::Launch;
use workspace::Workspace;

/// Exit code of shells for a command that cannot be executed.
const CANNOT_RUN: u8 = 126;

/// Returns the environment of a script: that of `provision`, with the variables of the account.
pub fn environment(env: &Env, account: &Account) -> Env {
    let mut session: Env = env
        .iter()
        .filter(|(name, _)| {
            // It is set already, and no session needs it.
            name.to_str()
                .is_some_and(|name| env_store::check_storable(name).is_ok() && name != "USER_PASSWORD")
        })
        .collect();
    account.set_variables(&mut session);
    session
}

/// Runs the hidden subcommand. Its stderr is the script's.
pub fn run(launch: &Launch) -> Outcome {
    become_user(launch)?;
    let mut shell = Command::new(SHELL);
    shell.arg("--login");
    if launch.own_interpreter {
        shell.args(["-c", "exec \"$0\""]);
    }
    let error = shell.arg(&launch.script).exec();
    log::error!("cannot run {SHELL}: {error}");
    Ok(Exit::Code(CANNOT_RUN))
}

fn become_user(launch: &Launch) -> Result<()> {
    let account = Account::named(&launch.user)?;
    // Without a terminal, a script that prompts fails instead of waiting for ever.
    unistd::setsid().context("cannot create a session")?;
    let mut word = [0];
    if std::io::stdin().read(&mut word).context("cannot read from provision")? == 0 {
        bail!("the parent provision process has exited");
    }
    SigSet::empty().thread_set_mask().context("cannot set the signal mask")?;
    account.switch()?;
    // Only now, because a change of the user resets it (prctl(2)).
    prctl::set_pdeathsig(Signal::SIGKILL).context("cannot set the parent death signal")?;
    if unistd::getppid() != Pid::from_raw(launch.parent) {
        bail!("the parent provision process has exited");
    }
    let null = File::open("/dev/null").context("cannot open /dev/null")?;
    unistd::dup2_stdin(&null).context("cannot close the standard input")?;
    enter(&account);
    Ok(())
}

/// Changes to the first directory that the user may enter: the workspace, their home, the root.
fn enter(account: &Account) {
    let (workspace, _) = Workspace::from_env(&Env::from_process());
    let places = [workspace.path.as_path(), account.home.as_path(), Path::new("/")];
    let _ = places.iter().find(|place| std::env::set_current_dir(place).is_ok());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_has_its_own_variables_and_none_of_another() {
        let given: Env = [
            ("HF_TOKEN", "t"),
            ("USER_PASSWORD", "p"),
            ("SUPERVISOR_ENABLED", "1"),
            ("HOME", "/root"),
            ("PATH", "/opt/leonardo/bin"),
        ]
        .into_iter()
        .collect();
        let account = Account { name: "ada".into(), uid: 1, gid: 1, home: "/home/ada".into() };
        let expected: Env = [
            ("HF_TOKEN", "t"),
            ("PATH", "/opt/leonardo/bin"),
            ("HOME", "/home/ada"),
            ("USER", "ada"),
            ("LOGNAME", "ada"),
            ("SHELL", "/bin/bash"),
        ]
        .into_iter()
        .collect();
        assert_eq!(environment(&given, &account), expected);
    }
}
