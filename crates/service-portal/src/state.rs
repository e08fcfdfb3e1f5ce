//! What all requests share.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use journal::Journal;
use kit::{Env, Reader};
use ports::Registry;

use crate::cli::Cli;
use crate::credentials::Credentials;
use crate::sessions::Sessions;
use crate::throttle::Throttle;

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct State(Arc<Shared>);

struct Shared {
    enable_auth: bool,
    credentials: PathBuf,
    registry: Registry,
    journal: Journal,
    env: Env,
    known: Mutex<Option<Credentials>>,
    sessions: Mutex<Sessions>,
    throttle: Mutex<Throttle>,
}

impl State {
    /// Reads what never changes; refuses to start without a login, because an open gate must be asked for by name.
    pub fn new(cli: &Cli, env: Env) -> Result<Self> {
        let mut reader = Reader::new(&env);
        let enable_auth = reader.flag("WEB_ENABLE_AUTH", true);
        for problem in reader.into_problems() {
            log::warn!("{problem}");
        }
        let credentials = Credentials::read(&cli.credentials)?;
        Ok(Self(Arc::new(Shared {
            enable_auth,
            credentials: cli.credentials.clone(),
            registry: Registry::at(&cli.registry),
            journal: Journal::at(&cli.journal),
            env,
            known: Mutex::new(Some(credentials)),
            sessions: Mutex::new(Sessions::default()),
            throttle: Mutex::new(Throttle::default()),
        })))
    }

    /// Whether the gate asks for a login at all.
    pub fn enable_auth(&self) -> bool {
        self.0.enable_auth
    }

    /// The present login: read again when the file has changed, so that a change needs no restart.
    ///
    /// A file that cannot be read or understood means that nobody gets in until it can be.
    pub fn with_credentials<T>(&self, with: impl FnOnce(Option<&Credentials>) -> T) -> T {
        let mut known = lock(&self.0.known);
        if known.as_ref().is_none_or(|known| !known.is_current(&self.0.credentials)) {
            *known =
                Credentials::read(&self.0.credentials).inspect_err(|error| log::error!("{error:#}")).ok();
            lock(&self.0.sessions).end_all();
        }
        with(known.as_ref())
    }

    /// The visitors who are logged in.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.0.sessions)
    }

    /// The brake on guessing.
    pub fn throttle(&self) -> MutexGuard<'_, Throttle> {
        lock(&self.0.throttle)
    }

    /// The registered services.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// What happened since the container started.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// The environment, for what the provider publishes.
    pub fn env(&self) -> &Env {
        &self.0.env
    }
}

/// Nothing here can panic between two steps of a change, so a poisoned lock still guards good data.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
