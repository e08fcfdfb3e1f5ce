//! The provider that runs this container, and the address at which it publishes a port.
//!
//! Each provider is one file with one implementation of [`Provider`]; a new one does not compile until it answers every
//! question. Answers come from the environment alone: nothing here uses the network, because a resolver that does not
//! answer must not delay a boot.

mod allowed_hosts;
mod local;
mod runpod;
mod trusted_proxies;
mod vast;

use kit::Env;
use kit::settings::is_host;

pub use allowed_hosts::{ALLOWED_HOSTS, allowed_hosts};
pub use trusted_proxies::{IpNetwork, TRUSTED_PROXIES, network_of, trusted_proxies};

/// Questions that every provider answers.
pub trait Provider {
    /// Returns the provider's name for display.
    fn name(&self) -> &'static str;

    /// Returns the public address of a port as `scheme://host[:port]`; `None` if it is not published.
    fn address(&self, env: &Env, port: u16) -> Option<String>;

    /// Returns the networks of the provider's http proxy, if it has one.
    fn proxies(&self) -> &'static [&'static str];
}

/// Detects the provider by the variables it sets; without any, it is a local machine.
#[must_use]
pub fn detect(env: &Env) -> &'static dyn Provider {
    const KNOWN: [(&str, &dyn Provider); 3] = [
        ("VAST_CONTAINERLABEL", &vast::Vast),
        ("CONTAINER_ID", &vast::Vast),
        ("RUNPOD_POD_ID", &runpod::RunPod),
    ];
    KNOWN
        .iter()
        .find(|(variable, _)| env.text(variable).is_some())
        .map_or(&local::Local, |&(_, provider)| provider)
}

/// Returns the public names and addresses of this machine that the environment mentions.
#[must_use]
pub fn public_names(env: &Env) -> Vec<String> {
    let given =
        ["DIRECT_ADDRESS", "PUBLIC_IPADDR", "RUNPOD_PUBLIC_IP"].iter().filter_map(|name| env.text(name));
    given.filter(|host| is_host(host)).map(str::to_owned).collect()
}

/// True if an answer can depend on this variable. None of them is a secret.
#[must_use]
pub fn is_relevant_variable(name: &str) -> bool {
    const NAMES: [&str; 6] = [
        "CONTAINER_ID",
        "DIRECT_ADDRESS",
        "PUBLIC_IPADDR",
        "RUNPOD_POD_ID",
        "RUNPOD_PUBLIC_IP",
        "VAST_CONTAINERLABEL",
    ];
    NAMES.contains(&name)
        || ["RUNPOD_TCP_PORT_", "VAST_TCP_PORT_"].iter().any(|prefix| name.starts_with(prefix))
}

/// Switch that makes our ports use https.
pub const HTTPS: &str = "WEB_ENABLE_HTTPS";

/// Returns the address of one of our ports with https if the port uses it: a link's secret must not be sent in plain
/// text first.
#[must_use]
pub fn with_https(env: &Env, origin: String) -> String {
    let https = kit::SettingsReader::new(env).switch(&kit::variables::WEB_ENABLE_HTTPS);
    if https { origin.replacen("http:", "https:", 1) } else { origin }
}

/// Returns the token with which vast.ai's button opens a service, as `?token=…`.
#[must_use]
pub fn one_click_token(env: &Env) -> Option<String> {
    env.text(ONE_CLICK_VARIABLE).map(str::to_owned)
}

/// Variable with vast.ai's one-click token. It is a secret, so only the portal gets it.
pub const ONE_CLICK_VARIABLE: &str = "OPEN_BUTTON_TOKEN";

fn port_of(env: &Env, variable: &str) -> Option<u16> {
    env.text(variable)?.parse().ok().filter(|&port| port != 0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const POD: &[(&str, &str)] = &[("RUNPOD_POD_ID", "abc123")];
    const POD_TCP: &[(&str, &str)] =
        &[("RUNPOD_POD_ID", "abc123"), ("RUNPOD_PUBLIC_IP", "192.0.2.7"), ("RUNPOD_TCP_PORT_1111", "10123")];
    const VAST: &[(&str, &str)] =
        &[("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "192.0.2.9"), ("VAST_TCP_PORT_1111", "41111")];
    const VAST_UNMAPPED: &[(&str, &str)] = &[("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "192.0.2.9")];
    const VAST_HOSTILE: &[(&str, &str)] =
        &[("VAST_CONTAINERLABEL", "C.1"), ("PUBLIC_IPADDR", "x@evil/"), ("VAST_TCP_PORT_1111", "1")];

    fn address(pairs: &[(&str, &str)]) -> Option<String> {
        let env: Env = pairs.iter().copied().filter(|(name, _)| is_relevant_variable(name)).collect();
        detect(&env).address(&env, 1111)
    }

    #[test]
    fn each_provider_publishes_ports_its_own_way() {
        assert_eq!(address(POD), Some("https://abc123-1111.proxy.runpod.net".into()));
        assert_eq!(address(POD_TCP), Some("http://192.0.2.7:10123".into()));
        assert_eq!(address(VAST), Some("http://192.0.2.9:41111".into()));
        assert_eq!(address(VAST_UNMAPPED), None, "an unmapped port has no address");
        assert_eq!(address(VAST_HOSTILE), None, "what is not a host does not get into a link");
        assert_eq!(
            address(&[]),
            None,
            "on a machine of one's own, the visitor's own address is the right one"
        );
        assert_eq!(address(&[("DIRECT_ADDRESS", "lab.example")]), Some("http://lab.example:1111".into()));
    }

    #[test]
    fn a_port_that_speaks_https_is_linked_so() {
        let on: Env = [(HTTPS, "true")].into_iter().collect();
        assert_eq!(with_https(&on, "http://gpu.lan:1111".into()), "https://gpu.lan:1111");
        assert_eq!(with_https(&on, "https://gpu.lan:1111".into()), "https://gpu.lan:1111");
        assert_eq!(with_https(&Env::default(), "http://gpu.lan:1111".into()), "http://gpu.lan:1111");
    }

    #[test]
    fn public_names_are_hosts_and_nothing_else() {
        let env: Env =
            [("DIRECT_ADDRESS", "lab.example"), ("PUBLIC_IPADDR", "x@evil/"), ("RUNPOD_PUBLIC_IP", " ")]
                .into_iter()
                .collect();
        assert_eq!(public_names(&env), ["lab.example"]);
    }
}
