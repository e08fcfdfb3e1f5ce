//! The Caddy process.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use anyhow::{Context, Result};
use kit::lock::Lock;
use kit::{HintExt, cmd, threads, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::caddy_threads;
use crate::events::{Events, ProxyEvent};

const PROGRAM: &str = "/opt/caddy/bin/caddy";
/// Runtime directory, which only Caddy's account can access.
pub const RUNTIME_DIRECTORY: &str = "/run/caddy";
/// Socket of the administration interface, as set in `base_config`.
pub const ADMIN_SOCKET: &str = "/run/caddy/admin.sock";
const STOP_TIMEOUT: Duration = Duration::from_secs(10);
const START_TIMEOUT: Duration = Duration::from_secs(10);
/// Directory of Caddy's state, such as certificates; its account has no home directory.
const STATE_DIRECTORY: &str = "/var/lib/caddy";

/// Acquires the lock of the only running caddy-run.
pub fn acquire_lock() -> Result<Option<Lock>> {
    Lock::lock_directory(Path::new(RUNTIME_DIRECTORY))
        .context("cannot start Caddy")
        .hint(|| "run: supervisorctl status caddy".to_owned())
}

/// A running Caddy.
pub struct Caddy {
    pid: Pid,
    status: Receiver<std::io::Result<ExitStatus>>,
}

impl Caddy {
    /// Starts Caddy in the foreground; its exit is reported to `events`.
    pub fn start(configuration: &Path, events: &Events) -> Result<Self> {
        stop_orphan()?;
        let mut command = caddy_command(configuration, "run");
        let child = command.spawn().with_context(|| format!("cannot run {}", cmd::describe(&command)))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("process id out of range")?);
        let status = wait_for(child, events)?;
        caddy_threads::start_in_background(pid);
        Ok(Self { pid, status })
    }

    /// Sends SIGTERM; the exit is reported as a [`ProxyEvent`].
    pub fn stop(&mut self) -> Result<()> {
        kill(self.pid, Signal::SIGTERM).context("cannot stop Caddy")
    }

    /// Returns the exit status of Caddy.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.status.recv().context("lost the Caddy process")?.context("cannot wait for Caddy")
    }
}

/// Waits until the administration interface accepts connections.
pub fn wait_until_up() -> Result<()> {
    wait::until(START_TIMEOUT, "Caddy to start", || UnixStream::connect(ADMIN_SOCKET).is_ok().then_some(()))
}

/// Applies a configuration file; if Caddy rejects it, the current configuration is unchanged.
pub fn reload(configuration: &Path) -> Result<()> {
    cmd::run(caddy_command(configuration, "reload").args(["--address", &admin_address()]))
}

/// Validates a configuration file, with `home` as Caddy's home; opens no ports.
pub fn validate(configuration: &Path, home: &Path) -> Result<()> {
    let mut command = caddy_command(configuration, "validate");
    cmd::run(command.env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home))
}

/// Stops the Caddy of a killed caddy-run, which still uses the ports.
fn stop_orphan() -> Result<()> {
    if UnixStream::connect(ADMIN_SOCKET).is_err() {
        return Ok(());
    }
    log::warn!("stopping a Caddy process left by an earlier caddy-run");
    cmd::run(Command::new(PROGRAM).args(["stop", "--address", &admin_address()]))?;
    wait::until(STOP_TIMEOUT, "the earlier Caddy to stop", || {
        UnixStream::connect(ADMIN_SOCKET).is_err().then_some(())
    })
}

fn admin_address() -> String {
    format!("unix/{ADMIN_SOCKET}")
}

/// Returns a command that runs Caddy without the container's environment, which may contain secrets.
fn caddy_command(configuration: &Path, task: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args([task, "--adapter", "caddyfile", "--config"]).arg(configuration);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", STATE_DIRECTORY)
        .env("XDG_DATA_HOME", STATE_DIRECTORY)
        .env("XDG_CONFIG_HOME", STATE_DIRECTORY);
    command
}

/// Waits for Caddy in a thread, which reports its exit.
fn wait_for(mut child: Child, events: &Events) -> Result<Receiver<std::io::Result<ExitStatus>>> {
    let (sender, status) = channel();
    let sender_of_events = events.sender();
    let wait = move || {
        // Both fail only after the main loop has ended.
        let _ = sender.send(child.wait());
        let _ = sender_of_events.send(ProxyEvent::Exited);
    };
    threads::start(wait)?;
    Ok(status)
}
