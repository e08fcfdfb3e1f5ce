//! vast.ai, as its documentation describes an instance's environment.

use crate::published_port::{VAST, published_port};
use crate::{NoAddress, Origin, Provider, Site};

/// A vast.ai instance.
pub struct Vast;

impl Provider for Vast {
    fn name(&self) -> &'static str {
        "vast.ai"
    }

    fn label_variable(&self) -> Option<&'static str> {
        Some("VAST_CONTAINERLABEL")
    }

    fn is_remote(&self) -> bool {
        true
    }

    /// Every published port has its own number on the machine's public address. `PUBLIC_IPADDR` keeps the address of the
    /// start when the machine gets another one.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress> {
        let number = published_port(site.env, VAST, port)?.ok_or_else(|| {
            NoAddress::new(format!("vast.ai does not publish port {port}: {VAST}{port} is not set"))
                .with_hint("publish the port in the template")
        })?;
        let host = match site.direct.clone().or_else(|| site.wan.clone()) {
            Some(host) => host,
            None => site.host_of("PUBLIC_IPADDR")?,
        };
        Ok(Origin::Tcp { host: Some(host), port: Some(number) })
    }

    /// Ports are published without a proxy.
    fn proxies(&self) -> &'static [&'static str] {
        &[]
    }
}
