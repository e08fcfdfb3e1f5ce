//! `cargo xtask engine`: a Docker engine with BuildKit, the machine's or a private one.

pub mod apt;
pub mod client;
mod daemon;
mod engine_paths;
mod network;
pub mod packages;
mod private;
mod process;
mod subnet;
mod system;

use std::io::{self, Write};
use std::process::Command;

use anyhow::{Context, Result, anyhow, bail};
use clap::{Subcommand, ValueEnum};
use kit::{Exit, HintExt, Outcome};

use crate::checkout::Checkout;
use client::Client;
use engine_paths::EnginePaths;

/// Manage the Docker engine: start, stop, or print its environment
#[derive(Debug, clap::Args)]
pub struct Args {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Task {
    /// Find an engine, or install and start a private one
    Up {
        /// Engine to use
        #[arg(long = "engine", value_enum, default_value_t)]
        choice: Choice,
        /// Image store of a private engine; containerd, for OCI layouts and reproducible images, is an engine of its own
        #[arg(long, value_enum, default_value_t)]
        store: Store,
    },
    /// Stop this checkout's private engines; their images and build cache stay
    Down,
    /// Print shell exports that point docker at the engine, for `eval "$(cargo xtask engine env)"`
    Env {
        /// The private engine with this image store
        #[arg(long, value_enum, default_value_t)]
        store: Store,
    },
}

/// Image store of a private engine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Store {
    /// Docker's own; exports no OCI layouts and keeps the times of files
    #[default]
    Overlay2,
    /// containerd's
    Containerd,
}

/// Engine to use.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Choice {
    /// This checkout's private engine if it runs, else the machine's, else a new private one
    #[default]
    Auto,
    /// The machine's own engine
    System,
    /// This checkout's private engine
    Private,
}

/// An engine that answers.
#[derive(Debug)]
pub struct Engine {
    client: Client,
    host: String,
    /// Paths of a private one.
    paths: Option<EnginePaths>,
    started: bool,
}

impl Engine {
    /// `docker`, to be completed with arguments; it talks to this engine.
    #[must_use]
    pub fn docker(&self) -> Command {
        self.client.command()
    }

    /// The engine's address as `DOCKER_HOST` wants it.
    #[must_use]
    pub fn docker_host(&self) -> &str {
        &self.host
    }

    /// True if this process started the engine, and so has to stop it.
    #[must_use]
    pub fn started_by_us(&self) -> bool {
        self.started
    }

    /// True if it is this checkout's private engine.
    #[must_use]
    pub fn is_private(&self) -> bool {
        self.paths.is_some()
    }

    /// Stops a private engine and its containers; the machine's own engine is not stopped.
    pub fn stop(&self) -> Result<()> {
        match &self.paths {
            Some(paths) => private::stop(paths).map(drop),
            None => Ok(()),
        }
    }

    /// Returns the lines that point a POSIX shell at this engine.
    #[must_use]
    pub fn exports(&self) -> String {
        self.client.exports(&self.host)
    }

    fn private(paths: EnginePaths, client: Client, started: bool) -> Self {
        Self { client, host: paths.docker_host(), paths: Some(paths), started }
    }

    fn system((client, host): (Client, String)) -> Self {
        Self { client, host, paths: None, started: false }
    }
}

/// Runs the task.
pub fn run(args: &Args) -> Outcome {
    match args.task {
        Task::Up { choice, store } => {
            let engine = match store {
                Store::Overlay2 => find(choice)?,
                Store::Containerd => private(store)?,
            };
            let kind = if engine.is_private() { "private" } else { "system" };
            writeln!(io::stdout(), "{kind} engine at {}", engine.docker_host())?;
        }
        Task::Down => {
            let stopped = stop_private()?;
            log::info!(
                "{}",
                if stopped { "stopped the private engine" } else { "no private engine is running" }
            );
        }
        Task::Env { store } => {
            let engines = if store == Store::Containerd { running_private(store)? } else { running()? };
            let up = "run: cargo xtask engine up";
            let engine = engines.first().context("no engine is running").hint(|| match store {
                Store::Overlay2 => up.to_owned(),
                Store::Containerd => format!("{up} --store containerd"),
            })?;
            write!(io::stdout(), "{}", engine.exports())?;
        }
    }
    Ok(Exit::Done)
}

/// Returns an engine that answers; sets up and starts a private one if that is chosen, or if no other answers.
pub fn find(choice: Choice) -> Result<Engine> {
    let paths = EnginePaths::of(&Checkout::find()?, Store::Overlay2);
    if choice != Choice::System
        && let Some(client) = private::running(&paths)
    {
        return Ok(Engine::private(paths, client, false));
    }
    if choice != Choice::Private {
        match system::probe() {
            Ok(found) => return Ok(Engine::system(found)),
            Err(reason) if choice == Choice::System => {
                return Err(anyhow!("{reason}")).hint(|| private::ADVICE.to_owned());
            }
            Err(reason) => log::info!("the machine has no Docker engine that can build this: {reason}"),
        }
    }
    private(Store::Overlay2)
}

/// Returns this checkout's private engine with that image store; sets it up and starts it if needed.
pub fn private(store: Store) -> Result<Engine> {
    let paths = EnginePaths::of(&Checkout::find()?, store);
    let (client, started) = private::start(&paths)?;
    Ok(Engine::private(paths, client, started))
}

/// Finds an engine and runs `task`; afterwards stops an engine that it started, even if the task failed.
pub fn with<T>(choice: Choice, task: impl FnOnce(&Checkout, &Engine) -> Result<T>) -> Result<T> {
    with_engine(&find(choice)?, task)
}

/// Runs `task` with an engine; afterwards stops it if this process started it, even if the task failed.
pub fn with_engine<T>(engine: &Engine, task: impl FnOnce(&Checkout, &Engine) -> Result<T>) -> Result<T> {
    let checkout = Checkout::find()?;
    let done = task(&checkout, engine);
    if engine.started_by_us() {
        let stopped = engine.stop();
        if done.is_ok() {
            stopped?;
        }
    }
    done
}

/// Returns the engines that answer, in the order of [`find`]; starts none.
pub fn running() -> Result<Vec<Engine>> {
    let system = system::probe().ok().map(Engine::system);
    Ok(running_private(Store::Overlay2)?.into_iter().chain(system).collect())
}

/// Returns the private engine with that image store, if it answers.
fn running_private(store: Store) -> Result<Vec<Engine>> {
    let paths = EnginePaths::of(&Checkout::find()?, store);
    Ok(private::running(&paths).map(|client| Engine::private(paths, client, false)).into_iter().collect())
}

/// Stops this checkout's private engines and their containers; returns whether one ran.
pub fn stop_private() -> Result<bool> {
    let checkout = Checkout::find()?;
    let stop = |store| private::stop(&EnginePaths::of(&checkout, store));
    let containerd = stop(Store::Containerd)?;
    Ok(stop(Store::Overlay2)? || containerd)
}

/// Returns a docker client with buildx, for commands that need no engine, such as `buildx bake --print`.
pub fn client() -> Result<Client> {
    system::client().or_else(|reason| {
        log::debug!("{reason}; using a client of our own");
        private::client(&EnginePaths::of(&Checkout::find()?, Store::Overlay2))
    })
}

/// Returns the line that `docker` printed; fails if it is empty.
pub(crate) fn expect_line<'text>(text: &'text str, what: &str) -> Result<&'text str> {
    match text.trim() {
        "" => bail!("docker printed no {what}"),
        line => Ok(line),
    }
}
