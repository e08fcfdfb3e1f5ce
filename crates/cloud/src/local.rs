//! A local machine: Docker on a laptop, a virtual machine, bare metal.

use kit::Env;
use kit::settings::is_host;

use crate::Provider;

/// No provider at all.
pub struct Local;

impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    /// Uses `DIRECT_ADDRESS` alone: a container does not know how its host publishes it.
    fn address(&self, env: &Env, port: u16) -> Option<String> {
        let host = env.text("DIRECT_ADDRESS").filter(|host| is_host(host))?;
        Some(format!("http://{host}:{port}"))
    }

    /// A local machine has no known proxy.
    fn proxies(&self) -> &'static [&'static str] {
        &[]
    }
}
