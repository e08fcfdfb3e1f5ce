//! Programs of the static supervisord configuration that start automatically.
//!
//! The configuration contains `autostart=%(ENV_LEONARDO_AUTOSTART_…)s`, so every variable must always be set:
//! supervisord refuses to start with an unset one.

use kit::Env;

use crate::settings::Settings;

/// Sets the switches, and the user's name and the port in their checked forms. sshd does not start without a usable
/// key, nor without the capabilities that a login needs.
pub fn export(settings: &Settings, sshd: bool, env: &mut Env) {
    env.set("USER_NAME", settings.user_name.as_str());
    env.set("SSH_PORT", settings.ssh_port.to_string());
    for (name, starts) in [
        ("SSHD", sshd),
        ("QUICKTUNNEL", settings.quick_tunnels),
        ("CLOUDFLARED", settings.tunnel_token.is_some()),
        ("WANADDRESS", settings.find_wan_address),
    ] {
        env.set(format!("LEONARDO_AUTOSTART_{name}"), starts.to_string());
    }
}
