//! What all requests share.

use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use journal::Journal;
use kit::{Env, Secret, SettingsReader, variables};
use ports::Registry;
use sha2::{Digest, Sha256};

use crate::cli::Cli;
use crate::credentials::Credentials;
use crate::host::AllowedHosts;
use crate::log_limit;
use crate::login_codes::LoginCodes;
use crate::sessions::Sessions;
use crate::shares::Shares;
use crate::signing::{Key, KeyFile};
use crate::throttle::Throttle;
use crate::unix_time;

/// Tokens of applications that are remembered at most; a container has a few.
const MOST_FOREIGN_TOKENS: usize = 1_000;

/// A handle that is cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    enable_auth: bool,
    one_click: Option<Secret>,
    credentials: PathBuf,
    registry: Registry,
    journal: Journal,
    proxy_problem: PathBuf,
    storage: PathBuf,
    env: Env,
    key: Key,
    key_file: Mutex<KeyFile>,
    known: Mutex<Option<Arc<Credentials>>>,
    former: Mutex<Option<Arc<Credentials>>>,
    sessions: Mutex<Sessions>,
    shares: Mutex<Shares>,
    login_codes: Mutex<LoginCodes>,
    handover_codes: Mutex<LoginCodes>,
    allowed_hosts: AllowedHosts,
    /// Digests of applications' tokens.
    foreign_tokens: Mutex<HashSet<Vec<u8>>>,
    throttle: Mutex<Throttle>,
}

impl AppState {
    /// Reads what never changes; refuses to start without a login, because an open gate must be asked for by name.
    pub fn new(cli: &Cli, env: Env) -> Result<Self> {
        let mut reader = SettingsReader::new(&env);
        let enable_auth = reader.switch(&variables::WEB_ENABLE_AUTH);
        for problem in reader.into_problems() {
            log::warn!("{problem}");
        }
        let credentials = Credentials::read(&cli.credentials)?;
        let key_file = KeyFile::load(&cli.state.join("key"))?;
        let key = key_file.key();
        Ok(Self(Arc::new(Shared {
            enable_auth,
            one_click: cloud::one_click_token(&env).and_then(Secret::new),
            credentials: cli.credentials.clone(),
            registry: Registry::new(&cli.registry),
            journal: Journal::new(&cli.journal),
            proxy_problem: cli.proxy_problem.clone(),
            storage: cli.storage.clone(),
            key: key.clone(),
            key_file: Mutex::new(key_file),
            sessions: Mutex::new(Sessions::load(
                &cli.state.join("sessions.json"),
                &credentials.fingerprint(),
            )),
            shares: Mutex::new(Shares::load(&cli.state.join("shares.json"), key)),
            login_codes: Mutex::default(),
            handover_codes: Mutex::default(),
            foreign_tokens: Mutex::default(),
            allowed_hosts: AllowedHosts::new(
                cloud::allowed_hosts(&env).0.into_iter().chain(cloud::public_names(&env)),
            ),
            throttle: Mutex::default(),
            known: Mutex::new(Some(Arc::new(credentials))),
            former: Mutex::default(),
            env,
        })))
    }

    /// Whether the gate asks for a login at all.
    pub fn enable_auth(&self) -> bool {
        self.0.enable_auth
    }

    /// The present login: read again when the file has changed, so that a change needs no restart. Sessions and one-time
    /// links of the former login end.
    ///
    /// A file that cannot be read or understood means that nobody gets in until it can be.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        let mut known = lock(&self.0.known);
        if known.as_ref().is_none_or(|known| !known.is_current(&self.0.credentials)) {
            let now = Credentials::read(&self.0.credentials).inspect_err(log_limit::error);
            let now = now.ok().map(Arc::new);
            if let Some(former) = std::mem::replace(&mut *known, now) {
                *lock(&self.0.former) = Some(former);
            }
            let login = known.as_ref().map_or_else(String::new, |known| known.fingerprint());
            lock(&self.0.sessions).end_all(&login, unix_time::now());
            lock(&self.0.login_codes).clear();
            lock(&self.0.handover_codes).clear();
            lock(&self.0.foreign_tokens).clear();
        }
        known.clone()
    }

    /// The name of this container's session cookie; nothing without a readable login.
    pub fn cookie_name(&self) -> Option<String> {
        Some(self.credentials()?.cookie().to_owned())
    }

    /// Returns whether an `Authorization` header was right until the login changed: it is late, and no guess.
    pub fn was_valid_before(&self, authorization: &[u8]) -> bool {
        lock(&self.0.former).as_ref().is_some_and(|former| former.matching_scheme(authorization).is_some())
    }

    /// Whether a word is the token of programs or the provider's one-click token.
    pub fn is_token(&self, word: &[u8]) -> bool {
        let own = self.credentials().is_some_and(|known| known.token().matches(word));
        let provider = self.0.one_click.as_ref().is_some_and(|token| token.matches(word));
        own | provider
    }

    /// Returns whether a word may be one of these tokens: it is as long, and was not compared before. Anything else is an
    /// application's, and no guess.
    pub fn may_be_token(&self, word: &[u8]) -> bool {
        let own = self.credentials().is_some_and(|known| known.token().expose().len() == word.len());
        let fits = own || self.0.one_click.as_ref().is_some_and(|token| token.expose().len() == word.len());
        fits && !lock(&self.0.foreign_tokens).contains(Sha256::digest(word).as_slice())
    }

    /// Remembers that a word was compared and is none of these tokens.
    pub fn remember_mismatch(&self, word: &[u8]) {
        let mut foreign = lock(&self.0.foreign_tokens);
        if foreign.len() >= MOST_FOREIGN_TOKENS {
            foreign.clear();
        }
        foreign.insert(Sha256::digest(word).to_vec());
    }

    /// Returns whether a service without a login may be reached under this host.
    pub fn allows_host(&self, host: &str) -> bool {
        self.0.allowed_hosts.allows(host)
    }

    /// The visitors who are logged in.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.0.sessions)
    }

    /// The links to one service each.
    pub fn shares(&self) -> MutexGuard<'_, Shares> {
        lock(&self.0.shares)
    }

    /// The one-time login links.
    pub fn login_codes(&self) -> MutexGuard<'_, LoginCodes> {
        lock(&self.0.login_codes)
    }

    /// Codes with which a login that was made at one port goes on at another, or without a token in its address.
    pub fn handover_codes(&self) -> MutexGuard<'_, LoginCodes> {
        lock(&self.0.handover_codes)
    }

    /// The brake on guessing.
    pub fn throttle(&self) -> MutexGuard<'_, Throttle> {
        lock(&self.0.throttle)
    }

    /// What signs the marks of known devices.
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// Where that is kept.
    pub fn key_file(&self) -> MutexGuard<'_, KeyFile> {
        lock(&self.0.key_file)
    }

    /// A sentence about state that memory has alone; nothing if everything is on the disk.
    pub fn unsaved_warning(&self) -> Option<String> {
        let problems = [
            self.key_file().problem().map(str::to_owned),
            self.sessions().problem().map(str::to_owned),
            self.shares().problem().map(str::to_owned),
        ];
        let reason = problems.into_iter().flatten().next()?;
        Some(format!("sessions and share links end when the portal or the container restarts: {reason}"))
    }

    /// The registered services.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Returns whether the service at a public port has this name.
    pub fn has_service(&self, port: u16, name: &str) -> bool {
        let services = self.0.registry.load().map(|(services, _)| services).unwrap_or_default();
        services.iter().any(|service| service.proxy_port == port && service.service_name == name)
    }

    /// Returns whether a service is registered at this public port.
    pub fn is_registered(&self, port: u16) -> bool {
        let services = self.0.registry.load().map(|(services, _)| services).unwrap_or_default();
        services.iter().any(|service| service.proxy_port == port)
    }

    /// What happened since the container started.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Where the proxy says what is wrong with its configuration.
    pub fn proxy_problem(&self) -> &PathBuf {
        &self.0.proxy_problem
    }

    /// Where the storage monitor says what it has linked.
    pub fn storage(&self) -> &PathBuf {
        &self.0.storage
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
