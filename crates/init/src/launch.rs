//! Becoming supervisord.

use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::{Env, wait};

const CONFIGURATION: &str = "/etc/supervisor/supervisord.conf";
const SOCKET: &str = "/run/supervisor.sock";
/// How long supervisord may take until its socket answers.
const DEADLINE: Duration = Duration::from_secs(30);

/// Replaces this process by supervisord; returns only the reason why it could not.
pub fn supervisord(env: &Env) -> anyhow::Error {
    let _ = std::fs::remove_file(SOCKET);
    if let Err(error) = start_waker() {
        log::warn!("supervisord will start its programs a second later: {error:#}");
    }
    let error = Command::new("supervisord")
        .args(["--nodaemon", "--configuration", CONFIGURATION])
        .env_clear()
        .envs(env.iter())
        .exec();
    anyhow::Error::new(error).context("cannot run supervisord")
}

/// supervisord 4 polls its sockets for a second before it starts the first program; a connection ends that poll.
fn start_waker() -> Result<()> {
    let own = std::env::current_exe().context("cannot find init's own file")?;
    Command::new(own)
        .arg("--wake-supervisord")
        .stdin(Stdio::null())
        .spawn()
        .context("cannot start the waker")?;
    Ok(())
}

/// Connects once to supervisord's socket, as soon as there is one.
pub fn wake_supervisord() -> Result<()> {
    wait::until(DEADLINE, "supervisord's socket", || UnixStream::connect(SOCKET).ok()).map(drop)
}
