//! runpod.io, as its documentation describes a pod's environment.

use crate::published_port::{RUNPOD, published_port};
use crate::{NoAddress, Origin, Provider, Site};

/// A pod of runpod.io.
pub struct RunPod;

impl Provider for RunPod {
    fn name(&self) -> &'static str {
        "runpod.io"
    }

    fn label_variable(&self) -> Option<&'static str> {
        Some("RUNPOD_POD_ID")
    }

    fn is_remote(&self) -> bool {
        true
    }

    /// A port published over TCP has a public port number; any other is behind the HTTPS proxy, whose name cannot be changed.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress> {
        let number = published_port(site.env, RUNPOD, port)?;
        let host = site.direct.clone().or_else(|| site.host_of("RUNPOD_PUBLIC_IP").ok());
        if let (Some(_), Some(_)) = (number, &host) {
            return Ok(Origin::Tcp { host, port: number });
        }
        let pod = site.env.text("RUNPOD_POD_ID").unwrap_or_default();
        if !pod.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-') {
            return Err(NoAddress::new("RUNPOD_POD_ID is not the id of a pod"));
        }
        Ok(Origin::Proxy(format!("{pod}-{port}.proxy.runpod.net")))
    }

    /// The HTTPS proxy reaches a pod over the provider's internal network. Not verified on a pod, and not documented. If it
    /// is wrong, cookies lack `Secure`, and nothing else changes.
    fn proxies(&self) -> &'static [&'static str] {
        crate::PRIVATE_RANGES
    }
}
