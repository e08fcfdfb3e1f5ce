//! The real server as a child.

use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, ExitStatus};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use kit::lock::Lock;
use kit::{HintExt, cmd, wait};
use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::events::{Events, ProxyEvent};

const PROGRAM: &str = "/opt/caddy/bin/caddy";
/// Only Caddy's account may enter it.
pub const RUNTIME_DIRECTORY: &str = "/run/caddy";
/// Where `base_config` puts the administration interface: in a directory that only Caddy's user may enter.
const ADMIN_SOCKET: &str = "/run/caddy/admin.sock";
const ORPHAN_DEADLINE: Duration = Duration::from_secs(10);
const START_DEADLINE: Duration = Duration::from_secs(10);
/// Where Caddy keeps certificates; its home directory does not exist.
const STATE: &str = "/var/lib/caddy";

/// Holds the place of the only caddy-run, in the directory of the administration interface.
pub fn acquire_lock() -> Result<Option<Lock>> {
    Lock::lock_directory(Path::new(RUNTIME_DIRECTORY))
        .context("Caddy does not start")
        .hint(|| "supervisorctl status caddy".to_owned())
}

/// A running Caddy.
pub struct Caddy {
    pid: Pid,
    ended: Receiver<std::io::Result<ExitStatus>>,
}

impl Caddy {
    /// Starts Caddy in the foreground; its end is told to the watch.
    pub fn start(configuration: &Path, events: &Events) -> Result<Self> {
        end_orphan()?;
        let mut command = caddy_command(configuration, "run");
        let child = command.spawn().with_context(|| format!("cannot run {}", cmd::describe(&command)))?;
        let pid = Pid::from_raw(i32::try_from(child.id()).context("a process id out of range")?);
        Ok(Self { pid, ended: wait_for(child, events) })
    }

    /// Asks Caddy to finish; its end comes as a [`ProxyEvent`].
    pub fn stop(&mut self) -> Result<()> {
        kill(self.pid, Signal::SIGTERM).context("cannot stop Caddy")
    }

    /// How Caddy ended.
    pub fn wait(&mut self) -> Result<ExitStatus> {
        self.ended.recv().context("nobody waited for Caddy")?.context("cannot wait for Caddy")
    }
}

/// Waits until Caddy listens to its administration.
pub fn wait_until_up() -> Result<()> {
    wait::until(START_DEADLINE, "Caddy to start", || UnixStream::connect(ADMIN_SOCKET).is_ok().then_some(()))
}

/// Makes Caddy take over a file's content; an error says why not, and leaves the former configuration in force.
pub fn reload(configuration: &Path) -> Result<()> {
    cmd::run(caddy_command(configuration, "reload").args(["--address", &address()]))
}

/// Asks Caddy about a configuration, with an empty home of its own: nothing is listened to, and nothing stays behind.
pub fn validate(configuration: &Path, home: &Path) -> Result<()> {
    let mut command = caddy_command(configuration, "validate");
    cmd::run(command.env("HOME", home).env("XDG_DATA_HOME", home).env("XDG_CONFIG_HOME", home))
}

/// A Caddy whose caddy-run was killed still holds the ports; it is asked to give them up.
fn end_orphan() -> Result<()> {
    if UnixStream::connect(ADMIN_SOCKET).is_err() {
        return Ok(());
    }
    log::warn!("ending a Caddy that an earlier caddy-run left behind");
    cmd::run(Command::new(PROGRAM).args(["stop", "--address", &address()]))?;
    wait::until(ORPHAN_DEADLINE, "the former Caddy to end", || {
        UnixStream::connect(ADMIN_SOCKET).is_err().then_some(())
    })
}

fn address() -> String {
    format!("unix/{ADMIN_SOCKET}")
}

/// Caddy needs nothing from the container's environment, and what it does not have it cannot leak.
fn caddy_command(configuration: &Path, task: &str) -> Command {
    let mut command = Command::new(PROGRAM);
    command.args([task, "--adapter", "caddyfile", "--config"]).arg(configuration);
    let path = std::env::var_os("PATH").unwrap_or_default();
    command
        .env_clear()
        .env("PATH", path)
        .env("HOME", STATE)
        .env("XDG_DATA_HOME", STATE)
        .env("XDG_CONFIG_HOME", STATE);
    command
}

fn wait_for(mut child: Child, events: &Events) -> Receiver<std::io::Result<ExitStatus>> {
    let (sender, ended) = channel();
    let changes = events.sender();
    thread::spawn(move || {
        // Both fail only when the main loop has ended.
        let _ = sender.send(child.wait());
        let _ = changes.send(ProxyEvent::Ended);
    });
    ended
}
