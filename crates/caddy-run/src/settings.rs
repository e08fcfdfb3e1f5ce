//! What the environment says about the proxy.

use cloud::Network;
use kit::{Env, Problem};

/// Settings of the proxy, checked.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// Whose `X-Forwarded-*` headers count.
    pub trusted_proxies: Vec<Network>,
}

impl Settings {
    /// Reads all settings; what could not be used comes back as problems.
    pub fn read(env: &Env) -> (Self, Vec<Problem>) {
        let (trusted_proxies, problems) = cloud::trusted_proxies(env);
        (Self { trusted_proxies }, problems)
    }
}

/// What caddy-run uses of the container's environment; none of it is a secret.
pub fn is_needed(name: &str) -> bool {
    matches!(name, "PATH" | "LANG") || name == cloud::TRUSTED_PROXIES || cloud::is_used(name)
}
