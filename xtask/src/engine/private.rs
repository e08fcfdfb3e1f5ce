//! An engine of this checkout's own, below `target/engine`.

use std::fs::{self, OpenOptions};

use anyhow::{Context, Result};
use kit::HintExt;
use nix::errno::Errno;
use nix::fcntl::{Flock, FlockArg};

use super::client::Client;
use super::layout::Layout;
use super::{daemon, packages};
use crate::step;

/// What to do on a machine where we cannot set one up.
pub const ADVICE: &str = "install Docker 23 or newer with its buildx plugin and start it (see docs.docker.com/engine/install), \
                          or call this as root on Debian 12, Ubuntu 22.04 or newer, where a private engine can be set up";

/// The client of this checkout's engine; it is unpacked where it is missing.
pub fn client(layout: &Layout) -> Result<Client> {
    let plan = packages::plan_here();
    if !layout.programs().is_dir() {
        let plan = plan.context("this system's packages are unknown").hint(|| ADVICE.to_owned())?;
        let _lock = lock(layout)?;
        packages::provide(layout, plan)?;
    }
    Ok(client_of(layout))
}

/// The client, if the private engine answers.
#[must_use]
pub fn running(layout: &Layout) -> Option<Client> {
    (daemon::running(layout).is_some() && daemon::answers(layout)).then(|| client_of(layout))
}

/// Sets up and starts what is missing; returns the client and whether this call started the daemon.
pub fn start(layout: &Layout) -> Result<(Client, bool)> {
    if let Some(client) = running(layout) {
        return Ok((client, false));
    }
    let plan = packages::plan_here().context("no private engine on this system: its packages are unknown");
    let plan = plan.hint(|| ADVICE.to_owned())?;
    if !nix::unistd::geteuid().is_root() {
        return Err(anyhow::anyhow!("only root can start a private engine")).hint(|| ADVICE.to_owned());
    }
    let _lock = lock(layout)?;
    if daemon::running(layout).is_some() {
        step::with("wait for the private Docker engine", || daemon::wait_until_it_answers(layout))?;
        return Ok((client_of(layout), false));
    }
    packages::provide(layout, plan)?;
    daemon::start(layout)?;
    Ok((client_of(layout), true))
}

/// Stops the engine and removes its bridge, rules and runtime files; images and the build cache stay.
///
/// Returns whether it ran.
pub fn stop(layout: &Layout) -> Result<bool> {
    if !layout.home().is_dir() && !layout.runtime().is_dir() {
        return Ok(false);
    }
    let _lock = lock(layout)?;
    if daemon::has_orphans(layout) {
        log::info!("the engine was killed but its containers are still running; starting it to stop them");
        daemon::start(layout)?;
    }
    match daemon::running(layout) {
        Some(_) => step::with("stop the private Docker engine", || daemon::stop(layout)),
        None => daemon::stop(layout),
    }
}

fn client_of(layout: &Layout) -> Client {
    Client::private(
        layout.programs().join("usr/bin/docker"),
        &layout.client_settings(),
        &layout.docker_host(),
    )
}

/// One at a time: a second `up` waits here until the first has the engine running.
fn lock(layout: &Layout) -> Result<Flock<fs::File>> {
    let path = layout.lock();
    fs::create_dir_all(layout.home())
        .with_context(|| format!("cannot create {}", layout.home().display()))?;
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
