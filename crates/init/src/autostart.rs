//! Which programs of the static supervisord configuration start by themselves.
//!
//! The configuration says `autostart=%(ENV_LEONARDO_AUTOSTART_…)s`, so every name must always be set: supervisord
//! refuses to start over an unset one.

use kit::Env;

use crate::settings::Settings;

/// Sets the switches, and the user's name and the port in their checked forms. Without a key, or where it can let nobody in, sshd does not start.
pub fn export(settings: &Settings, sshd: bool, env: &mut Env) {
    env.set("USER_NAME", settings.user_name.as_str());
    env.set("SSH_PORT", settings.ssh_port.to_string());
    env.set("LEONARDO_AUTOSTART_SSHD", sshd.to_string());
}
