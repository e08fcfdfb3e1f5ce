//! Salad, as its documentation describes a container's environment.

use crate::{NoAddress, Origin, Provider, Site};

/// A container of Salad.
pub struct Salad;

/// The port that the gateway is expected to lead to: the portal's.
const PORTAL: u16 = 1111;

impl Provider for Salad {
    fn name(&self) -> &'static str {
        "Salad"
    }

    fn label_variable(&self) -> Option<&'static str> {
        Some("SALAD_MACHINE_ID")
    }

    fn is_remote(&self) -> bool {
        true
    }

    /// An https gateway leads to one port. A container can read neither the port nor the gateway's name.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress> {
        if port != PORTAL {
            let reason = format!("Salad publishes one port; this image expects that to be {PORTAL}");
            return Err(NoAddress::new(reason));
        }
        site.direct.clone().map(Origin::Proxy).ok_or_else(|| {
            NoAddress::new("Salad does not pass its address to a container")
                .with_hint("set DIRECT_ADDRESS to the access domain name of the gateway")
        })
    }

    /// The gateway reaches a container over the provider's internal network. Not verified.
    fn proxies(&self) -> &'static [&'static str] {
        crate::PRIVATE_RANGES
    }
}
