//! State that all requests share.

use std::collections::HashSet;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use anyhow::Result;
use journal::Journal;
use kit::unix_time;
use kit::{Env, Secret, SettingsReader, variables};
use ports::{Registry, Service};
use sha2::{Digest, Sha256};
use system_metrics::Monitor;
use tunnels::Tunnels;

use crate::api_tokens::{ApiTokens, TokenScope};
use crate::cli::Cli;
use crate::credentials::{Credentials, bearer_word};
use crate::host::AllowedHosts;
use crate::log_limit;
use crate::login_codes::LoginCodes;
use crate::logs::LogPages;
use crate::sessions::Sessions;
use crate::shares::Shares;
use crate::signing::{Key, KeyFile};
use crate::throttle::Throttle;

/// Maximum number of remembered tokens of services.
const MAX_SERVICE_TOKENS: usize = 1_000;

/// Handle of the state, cheap to clone.
#[derive(Clone)]
pub struct AppState(Arc<Shared>);

struct Shared {
    enable_auth: bool,
    /// Name of the image.
    title: String,
    container_name: String,
    /// One-click token of the provider.
    one_click: Option<Secret>,
    /// Path of the login.
    credentials: PathBuf,
    registry: Registry,
    journal: Journal,
    proxy_problem: PathBuf,
    storage: PathBuf,
    tunnels: PathBuf,
    process_control: PathBuf,
    env: Env,
    key: Key,
    key_file: Mutex<KeyFile>,
    /// Current login.
    known: Mutex<Option<Arc<Credentials>>>,
    /// Login before the last change.
    former: Mutex<Option<Arc<Credentials>>>,
    sessions: Mutex<Sessions>,
    shares: Mutex<Shares>,
    api_tokens: Mutex<ApiTokens>,
    login_codes: Mutex<LoginCodes>,
    handover_codes: Mutex<LoginCodes>,
    allowed_hosts: AllowedHosts,
    /// Digests of services' tokens, which were compared with ours before.
    service_tokens: Mutex<HashSet<Vec<u8>>>,
    throttle: Mutex<Throttle>,
    log_pages: LogPages,
    log_root: PathBuf,
    system: Monitor,
    /// Directory of the programs' logs, which the portal's account can read as a member of `adm`.
    log_directory: PathBuf,
}

impl AppState {
    /// Reads settings and state. Fails without a login: only `WEB_ENABLE_AUTH=false` opens the gate.
    pub fn new(cli: &Cli, env: Env) -> Result<Self> {
        let mut reader = SettingsReader::new(&env);
        let enable_auth = reader.switch(&variables::WEB_ENABLE_AUTH);
        let title = reader.line(&variables::IMAGE_TITLE);
        for problem in reader.into_problems() {
            log::warn!("{problem}");
        }
        let credentials = Credentials::read(&cli.credentials)?;
        let key_file = KeyFile::load(&cli.state.join("key"))?;
        let key = key_file.key();
        Ok(Self(Arc::new(Shared {
            enable_auth,
            title,
            container_name: container_name(&env),
            one_click: cloud::one_click_token(&env).and_then(Secret::new),
            credentials: cli.credentials.clone(),
            registry: Registry::new(&cli.registry),
            journal: Journal::new(&cli.journal),
            proxy_problem: cli.proxy_problem.clone(),
            storage: cli.storage.clone(),
            tunnels: cli.tunnels.clone(),
            process_control: cli.process_control.clone(),
            key: key.clone(),
            key_file: Mutex::new(key_file),
            sessions: Mutex::new(Sessions::load(
                &cli.state.join("sessions.json"),
                &credentials.fingerprint(),
            )),
            shares: Mutex::new(Shares::load(&cli.state.join("shares.json"), key)),
            api_tokens: Mutex::new(ApiTokens::load(&cli.state.join("tokens.json"))),
            login_codes: Mutex::default(),
            handover_codes: Mutex::default(),
            service_tokens: Mutex::default(),
            allowed_hosts: AllowedHosts::new(
                cloud::allowed_hosts(&env).0.into_iter().chain(cloud::public_names(&env)),
            ),
            throttle: Mutex::default(),
            log_pages: LogPages::new(&cli.logs),
            log_root: cli.logs.clone(),
            system: Monitor::default(),
            log_directory: cli.logs.join("var/log/supervisor"),
            known: Mutex::new(Some(Arc::new(credentials))),
            former: Mutex::default(),
            env,
        })))
    }

    /// True unless `WEB_ENABLE_AUTH=false`.
    pub fn enable_auth(&self) -> bool {
        self.0.enable_auth
    }

    /// Returns the name of the image.
    pub fn title(&self) -> &str {
        &self.0.title
    }

    /// Returns the name of the container: the provider's, or the host name.
    pub fn container_name(&self) -> &str {
        &self.0.container_name
    }

    /// Returns the current login. The file is reread when it has changed, which ends all sessions and one-time links.
    ///
    /// `None` if it cannot be read or parsed: no visitor can log in then.
    pub fn credentials(&self) -> Option<Arc<Credentials>> {
        let mut known = lock(&self.0.known);
        if known.as_ref().is_none_or(|known| !known.is_current(&self.0.credentials)) {
            let current = Credentials::read(&self.0.credentials).inspect_err(log_limit::error);
            let current = current.ok().map(Arc::new);
            if let Some(former) = std::mem::replace(&mut *known, current) {
                *lock(&self.0.former) = Some(former);
            }
            let login = known.as_ref().map_or_else(String::new, |known| known.fingerprint());
            lock(&self.0.sessions).end_all(&login);
            lock(&self.0.login_codes).clear();
            lock(&self.0.handover_codes).clear();
            lock(&self.0.service_tokens).clear();
        }
        known.clone()
    }

    /// Returns the name of this container's session cookie; `None` without a readable login.
    pub fn cookie_name(&self) -> Option<String> {
        Some(self.credentials()?.cookie().to_owned())
    }

    /// True if an `Authorization` header is no guess, although it gives no access here: it was valid until the login changed,
    /// or has a token of the API.
    pub fn was_valid_before(&self, authorization: &[u8]) -> bool {
        lock(&self.0.former).as_ref().is_some_and(|former| former.matching_scheme(authorization).is_some())
            || bearer_word(authorization).is_some_and(|word| lock(&self.0.api_tokens).is_known(word))
    }

    /// Returns the scope of the API token in an `Authorization` header, if it is active; counts as a use.
    pub fn use_api_token(
        &self,
        login: &Credentials,
        authorization: &[u8],
        address: IpAddr,
    ) -> Option<TokenScope> {
        let word = bearer_word(authorization)?;
        lock(&self.0.api_tokens).touch(word, &login.fingerprint(), address, unix_time::now())
    }

    pub fn api_tokens(&self) -> MutexGuard<'_, ApiTokens> {
        lock(&self.0.api_tokens)
    }

    /// True if a word is the token of programs or the provider's one-click token.
    pub fn is_token(&self, word: &[u8]) -> bool {
        let own = self.credentials().is_some_and(|known| known.token().matches(word));
        let provider = self.0.one_click.as_ref().is_some_and(|token| token.matches(word));
        own | provider
    }

    /// True if a word may be one of these tokens: it has the length of one and is not a known token of a service.
    pub fn may_be_token(&self, word: &[u8]) -> bool {
        let own = self.credentials().is_some_and(|known| known.token().expose().len() == word.len());
        let fits = own || self.0.one_click.as_ref().is_some_and(|token| token.expose().len() == word.len());
        fits && !lock(&self.0.service_tokens).contains(Sha256::digest(word).as_slice())
    }

    /// Remembers a word as a token of a service, after it was compared.
    pub fn remember_mismatch(&self, word: &[u8]) {
        let mut tokens = lock(&self.0.service_tokens);
        if tokens.len() >= MAX_SERVICE_TOKENS {
            tokens.clear();
        }
        tokens.insert(Sha256::digest(word).to_vec());
    }

    /// True if services without a login can be used under this host.
    pub fn allows_host(&self, host: &str) -> bool {
        self.0.allowed_hosts.allows(host)
    }

    /// Returns the session store.
    pub fn sessions(&self) -> MutexGuard<'_, Sessions> {
        lock(&self.0.sessions)
    }

    /// Returns the share links.
    pub fn shares(&self) -> MutexGuard<'_, Shares> {
        lock(&self.0.shares)
    }

    /// Returns the codes of one-time login links.
    pub fn login_codes(&self) -> MutexGuard<'_, LoginCodes> {
        lock(&self.0.login_codes)
    }

    /// Returns the codes that continue a login at another port, or without the token in the URL.
    pub fn handover_codes(&self) -> MutexGuard<'_, LoginCodes> {
        lock(&self.0.handover_codes)
    }

    /// Returns the rate limit for failed logins.
    pub fn throttle(&self) -> MutexGuard<'_, Throttle> {
        lock(&self.0.throttle)
    }

    /// Returns the signing key.
    pub fn key(&self) -> &Key {
        &self.0.key
    }

    /// Returns the file of the signing key.
    pub fn key_file(&self) -> MutexGuard<'_, KeyFile> {
        lock(&self.0.key_file)
    }

    /// Returns a warning about state that is only in memory; `None` if all of it is on disk.
    pub fn unsaved_warning(&self) -> Option<String> {
        let problems = [
            self.key_file().problem().map(str::to_owned),
            self.sessions().problem().map(str::to_owned),
            self.shares().problem().map(str::to_owned),
            self.api_tokens().problem().map(str::to_owned),
        ];
        let reason = problems.into_iter().flatten().next()?;
        Some(format!(
            "sessions, links and tokens are lost when the portal or the container restarts: {reason}"
        ))
    }

    /// Returns the service registry.
    pub fn registry(&self) -> &Registry {
        &self.0.registry
    }

    /// Returns the service at a public port.
    pub fn service(&self, port: u16) -> Option<Service> {
        let (services, _) = self.0.registry.load().ok()?;
        services.into_iter().find(|service| service.proxy_port == port)
    }

    /// True if the service at a public port has this name.
    pub fn has_service(&self, port: u16, name: &str) -> bool {
        self.service(port).is_some_and(|service| service.service_name == name)
    }

    /// True if a service is registered at this public port.
    pub fn is_registered(&self, port: u16) -> bool {
        self.service(port).is_some()
    }

    /// Returns the journal of the boot.
    pub fn journal(&self) -> &Journal {
        &self.0.journal
    }

    /// Returns the log page's logs and limits.
    pub fn log_pages(&self) -> &LogPages {
        &self.0.log_pages
    }

    /// Returns the directory below which `/var/log` is; `/` except in tests.
    pub fn log_root(&self) -> &Path {
        &self.0.log_root
    }

    /// Returns the directory of the programs' logs.
    pub fn log_directory(&self) -> &Path {
        &self.0.log_directory
    }

    /// Returns the path of the proxy's problem file.
    pub fn proxy_problem(&self) -> &PathBuf {
        &self.0.proxy_problem
    }

    /// Returns the path of the storage monitor's status.
    pub fn storage(&self) -> &PathBuf {
        &self.0.storage
    }

    /// Returns the socket of the program that starts and stops programs.
    pub fn process_control(&self) -> &Path {
        &self.0.process_control
    }

    /// Reads the tunnels.
    pub fn tunnels(&self) -> Tunnels {
        Tunnels::read(&self.0.tunnels)
    }

    /// Returns the container's figures.
    pub fn system(&self) -> &Monitor {
        &self.0.system
    }

    /// Returns the environment, from which published ports are read.
    pub fn env(&self) -> &Env {
        &self.0.env
    }
}

fn container_name(env: &Env) -> String {
    let name = cloud::container_label(env).map(str::to_owned);
    let name = name.or_else(|| std::fs::read_to_string("/proc/sys/kernel/hostname").ok());
    name.map(|name| name.trim().to_owned())
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "container".to_owned())
}

/// Locks a mutex. No change here can panic halfway, so the data behind a poisoned lock is consistent.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
