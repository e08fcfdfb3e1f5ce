//! runpod.io, as its documentation describes a pod's environment.

use kit::Env;
use kit::settings::is_host;

use crate::{Provider, port_of};

/// A pod of runpod.io.
pub struct RunPod;

impl Provider for RunPod {
    fn name(&self) -> &'static str {
        "runpod.io"
    }

    /// A port published over TCP has a public port number; any other is behind the HTTPS proxy.
    fn address(&self, env: &Env, port: u16) -> Option<String> {
        let tcp = env
            .text("RUNPOD_PUBLIC_IP")
            .filter(|host| is_host(host))
            .zip(port_of(env, &format!("RUNPOD_TCP_PORT_{port}")))
            .map(|(host, outside)| format!("http://{host}:{outside}"));
        tcp.or_else(|| {
            let pod = env.text("RUNPOD_POD_ID").filter(|pod| is_host(pod))?;
            Some(format!("https://{pod}-{port}.proxy.runpod.net"))
        })
    }

    /// Private and shared ranges, because the HTTPS proxy reaches a pod over the provider's internal network. Not
    /// verified on a pod, and not documented. If it is wrong, cookies lack `Secure`, and nothing else changes.
    fn proxies(&self) -> &'static [&'static str] {
        &["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"]
    }
}
