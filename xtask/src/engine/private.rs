//! The private engine of this checkout, below `target/engine`.

use std::fs::{self, OpenOptions};

use anyhow::{Context, Result};
use kit::HintExt;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::client::Client;
use super::engine_paths::EnginePaths;
use super::{daemon, packages};
use crate::step;

/// Hint for a machine on which no private engine can be set up.
pub const ADVICE: &str = "install Docker 23 or newer with its buildx plugin and start it (see docs.docker.com/engine/install), \
                          or call this as root on Debian 12, Ubuntu 22.04 or newer, where a private engine can be set up";

/// Returns the client of this checkout's engine; unpacks it if it is missing.
pub fn client(paths: &EnginePaths) -> Result<Client> {
    let plan = packages::plan_here();
    if !paths.programs().is_dir() {
        let plan = plan
            .context("cannot install a Docker client: unsupported distribution")
            .hint(|| ADVICE.to_owned())?;
        let _lock = lock(paths)?;
        packages::unpack(paths, plan)?;
    }
    Ok(client_of(paths))
}

/// The client, if the private engine answers.
#[must_use]
pub fn running(paths: &EnginePaths) -> Option<Client> {
    (daemon::running(paths).is_some() && daemon::answers(paths)).then(|| client_of(paths))
}

/// Sets up and starts the engine if needed; returns the client and true if this call started the daemon.
pub fn start(paths: &EnginePaths) -> Result<(Client, bool)> {
    if let Some(client) = running(paths) {
        return Ok((client, false));
    }
    let plan = packages::plan_here().context("cannot install a private engine: unsupported distribution");
    let plan = plan.hint(|| ADVICE.to_owned())?;
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow::anyhow!("only root can start a private engine")).hint(|| ADVICE.to_owned());
    }
    let _lock = lock(paths)?;
    if daemon::running(paths).is_some() {
        step::with("wait for the private Docker engine", || daemon::wait_until_it_answers(paths))?;
        return Ok((client_of(paths), false));
    }
    packages::unpack(paths, plan)?;
    daemon::start(paths)?;
    Ok((client_of(paths), true))
}

/// Stops the engine and removes its bridge, rules and runtime files; images and the build cache stay.
///
/// Returns whether it ran.
pub fn stop(paths: &EnginePaths) -> Result<bool> {
    if !paths.home().is_dir() && !paths.runtime().is_dir() {
        return Ok(false);
    }
    let _lock = lock(paths)?;
    if daemon::has_orphans(paths) {
        log::info!("the engine was killed but its containers are still running; starting it to stop them");
        daemon::start(paths)?;
    }
    match daemon::running(paths) {
        Some(_) => step::with("stop the private Docker engine", || daemon::stop(paths)),
        None => daemon::stop(paths),
    }
}

fn client_of(paths: &EnginePaths) -> Client {
    Client::private(paths.programs().join("usr/bin/docker"), &paths.client_settings(), &paths.docker_host())
}

/// Waits for the lock and returns it: a second `up` continues when the first has started the engine.
fn lock(paths: &EnginePaths) -> Result<Flock<fs::File>> {
    let path = paths.lock();
    fs::create_dir_all(paths.home()).with_context(|| format!("cannot create {}", paths.home().display()))?;
    let file = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
    let file = file.with_context(|| format!("cannot open {}", path.display()))?;
    let locked = Flock::lock(file, FlockArg::LockExclusiveNonblock).or_else(|(file, error)| match error {
        Errno::EWOULDBLOCK => {
            log::info!("waiting for another xtask that sets up or stops the engine");
            Flock::lock(file, FlockArg::LockExclusive)
        }
        error => Err((file, error)),
    });
    locked.map_err(|(_, error)| error).with_context(|| format!("cannot lock {}", path.display()))
}
