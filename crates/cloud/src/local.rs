//! A local machine: Docker on a laptop, a virtual machine, bare metal.

use crate::published_port::{MAPPED, published_port};
use crate::{NoAddress, Origin, Provider, Site};

/// No provider at all.
pub struct Local;

impl Provider for Local {
    fn name(&self) -> &'static str {
        "local"
    }

    fn label_variable(&self) -> Option<&'static str> {
        None
    }

    fn is_remote(&self) -> bool {
        false
    }

    /// The user states host and numbers: a container does not know how its host publishes it.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress> {
        let number = published_port(site.env, MAPPED, port)?;
        let host = site.direct.clone().or_else(|| site.wan.clone());
        Ok(Origin::Tcp { host, port: number })
    }

    /// A local machine has no known proxy.
    fn proxies(&self) -> &'static [&'static str] {
        &[]
    }
}
