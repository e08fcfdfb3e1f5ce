//! Becoming supervisord.

use std::os::unix::process::CommandExt;
use std::process::Command;

use kit::Env;

const CONFIGURATION: &str = "/etc/supervisor/supervisord.conf";

/// Replaces this process by supervisord; returns only the reason why it could not.
pub fn supervisord(env: &Env) -> anyhow::Error {
    let error = Command::new("supervisord")
        .args(["--nodaemon", "--configuration", CONFIGURATION])
        .env_clear()
        .envs(env.iter())
        .exec();
    anyhow::Error::new(error).context("cannot run supervisord")
}
