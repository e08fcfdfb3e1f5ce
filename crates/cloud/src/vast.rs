//! vast.ai, as its documentation describes an instance's environment.

use kit::Env;
use kit::settings::is_host;

use crate::{Provider, port_of};

/// A vast.ai instance.
pub struct Vast;

impl Provider for Vast {
    fn name(&self) -> &'static str {
        "vast.ai"
    }

    /// Every published port has its own number on the machine's public address.
    fn address(&self, env: &Env, port: u16) -> Option<String> {
        let host = env.text("PUBLIC_IPADDR").filter(|host| is_host(host))?;
        let outside = port_of(env, &format!("VAST_TCP_PORT_{port}"))?;
        Some(format!("http://{host}:{outside}"))
    }

    /// Ports are published without a proxy.
    fn proxies(&self) -> &'static [&'static str] {
        &[]
    }
}
