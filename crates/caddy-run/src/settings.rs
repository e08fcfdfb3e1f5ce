//! What the environment says about the proxy.

use std::path::PathBuf;

use cloud::Network;
use kit::{Env, Problem, SettingsReader, variables};

const ENABLE_HTTPS: &str = "WEB_ENABLE_HTTPS";

/// Settings of the proxy, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<Network>,
    /// Whether all ports speak https.
    pub enable_https: bool,
    /// Names and addresses at which the world reaches this container.
    pub public_names: Vec<String>,
    /// The file with certificate and key, a path of ours; set while https is on.
    pub pair: Option<PathBuf>,
    /// Why `pair` is not the mounted certificate, for the portal.
    pub certificate_problem: Option<String>,
}

impl Settings {
    /// Reads all settings; what could not be used comes back as problems.
    pub fn read(env: &Env) -> (Self, Vec<Problem>) {
        let (trusted_proxies, mut problems) = cloud::trusted_proxies(env);
        let mut reader = SettingsReader::new(env);
        let enable_https = reader.switch(&variables::WEB_ENABLE_HTTPS);
        problems.extend(reader.into_problems());
        let public_names = cloud::public_names(env);
        (Self { trusted_proxies, enable_https, public_names, ..Self::default() }, problems)
    }
}

/// What caddy-run uses of the container's environment; none of it is a secret.
pub fn is_relevant_variable(name: &str) -> bool {
    matches!(name, "PATH" | "LANG" | "SSH_PORT" | ENABLE_HTTPS)
        || name == cloud::TRUSTED_PROXIES
        || cloud::is_relevant_variable(name)
}
