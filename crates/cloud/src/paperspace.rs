//! Paperspace, by the variable that its notebooks have. Not verified on one.

use crate::{NoAddress, Origin, Provider, Site};

/// A notebook of Paperspace.
pub struct Paperspace;

/// The one port that is published.
const JUPYTER: u16 = 8888;

impl Provider for Paperspace {
    fn name(&self) -> &'static str {
        "Paperspace"
    }

    fn label_variable(&self) -> Option<&'static str> {
        Some("PAPERSPACE_FQDN")
    }

    fn is_remote(&self) -> bool {
        true
    }

    /// An https proxy leads to the port of Jupyter.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress> {
        if port != JUPYTER {
            return Err(NoAddress::new(format!("Paperspace publishes port {JUPYTER} only")));
        }
        match site.direct.clone() {
            Some(host) => Ok(Origin::Proxy(host)),
            None => site.host_of("PAPERSPACE_FQDN").map(Origin::Proxy),
        }
    }

    /// The proxy reaches a notebook over the provider's internal network. Not verified.
    fn proxies(&self) -> &'static [&'static str] {
        crate::PRIVATE_RANGES
    }
}
