//! Settings from the environment.

use kit::{Env, Problem, SettingsReader, variables};

/// Settings of the web services that concern tunnels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Settings {
    /// True if Caddy's ports use https.
    pub is_https: bool,
    /// True if services ask for a login.
    pub has_login: bool,
}

impl Settings {
    /// Reads the settings; returns problems with invalid ones.
    pub fn read(env: &Env) -> (Self, Vec<Problem>) {
        let mut reader = SettingsReader::new(env);
        let is_https = reader.switch(&variables::WEB_ENABLE_HTTPS);
        let has_login = reader.switch(&variables::WEB_ENABLE_AUTH);
        (Self { is_https, has_login }, reader.into_problems())
    }
}

/// True if tunnel-run uses this environment variable; none of them is secret.
pub fn is_relevant_variable(name: &str) -> bool {
    let used = [variables::WEB_ENABLE_HTTPS.name, variables::WEB_ENABLE_AUTH.name, variables::SSH_PORT.name];
    matches!(name, "PATH" | "LANG") || used.contains(&name)
}
