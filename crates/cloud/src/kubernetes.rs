//! A pod of Kubernetes.

use crate::published_port::{MAPPED, published_port};
use crate::{NoAddress, Origin, Provider, Site};

/// A pod, whose Services and Ingresses are unknown inside.
pub struct Kubernetes;

impl Provider for Kubernetes {
    fn name(&self) -> &'static str {
        "Kubernetes"
    }

    fn label_variable(&self) -> Option<&'static str> {
        None
    }

    fn is_remote(&self) -> bool {
        true
    }

    /// The user states the host of the Service or Ingress, and numbers that differ.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress> {
        let number = published_port(site.env, MAPPED, port)?;
        Ok(Origin::Tcp { host: site.direct.clone(), port: number })
    }

    /// The networks of Ingress controllers differ; `WEB_TRUSTED_PROXIES` names them.
    fn proxies(&self) -> &'static [&'static str] {
        &[]
    }
}
