//! Settings of the proxy from the environment.

use std::path::PathBuf;

use cloud::IpNetwork;
use kit::{Env, Problem, SettingsReader, variables};

const ENABLE_HTTPS: &str = "WEB_ENABLE_HTTPS";

/// Settings of the proxy, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Networks of proxies whose `X-Forwarded-*` headers are trusted.
    pub trusted_proxies: Vec<IpNetwork>,
    /// True if all ports use https.
    pub enable_https: bool,
    /// Public names and addresses of this container.
    pub public_names: Vec<String>,
    /// Path of the certificate with its key, if https is enabled.
    pub certificate: Option<PathBuf>,
    /// Reason why the mounted certificate is not used, for the portal.
    pub certificate_problem: Option<String>,
}

impl Settings {
    /// Reads all settings; returns problems with invalid ones.
    pub fn read(env: &Env) -> (Self, Vec<Problem>) {
        let (trusted_proxies, mut problems) = cloud::trusted_proxies(env);
        let mut reader = SettingsReader::new(env);
        let enable_https = reader.switch(&variables::WEB_ENABLE_HTTPS);
        problems.extend(reader.into_problems());
        let public_names = cloud::public_names(env);
        (Self { trusted_proxies, enable_https, public_names, ..Self::default() }, problems)
    }
}

/// True if caddy-run uses this environment variable; none of them is secret.
pub fn is_relevant_variable(name: &str) -> bool {
    matches!(name, "PATH" | "LANG" | "SSH_PORT" | ENABLE_HTTPS)
        || name == cloud::TRUSTED_PROXIES
        || cloud::is_relevant_variable(name)
}
