//! Replaces `init` by supervisord.

use std::os::unix::process::CommandExt;
use std::process::Command;

use kit::Env;

/// By its path: nothing in the user's `PATH` may become PID 1.
pub const SUPERVISORD: &str = "/usr/local/bin/supervisord";
/// Configuration of the container's supervisord.
pub const CONFIGURATION: &str = "/etc/supervisor/supervisord.conf";

/// Replaces this process by supervisord; returns only an error.
pub fn exec(env: &Env) -> anyhow::Error {
    let error = Command::new(SUPERVISORD)
        .args(["--nodaemon", "--configuration", CONFIGURATION])
        .env_clear()
        .envs(env.iter())
        .exec();
    anyhow::Error::new(error).context(format!("cannot run {SUPERVISORD}"))
}
