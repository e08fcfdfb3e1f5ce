//! Which programs of the static supervisord configuration start by themselves.
//!
//! The configuration says `autostart=%(ENV_LEONARDO_AUTOSTART_…)s`, so every name must always be set: supervisord
//! refuses to start over an unset one.

use kit::Env;
use sshd_run::keys::Keys;

use crate::settings::Settings;

/// Sets the switches, and the port in its checked form.
pub fn export(settings: &Settings, keys: &Keys, env: &mut Env) {
    env.set("SSH_PORT", settings.ssh_port.to_string());
    // Nobody could log in without a key, so nothing listens without one.
    env.set("LEONARDO_AUTOSTART_SSHD", (!keys.is_empty()).to_string());
}
