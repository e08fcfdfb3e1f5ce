//! The provider that runs this container, and the address at which it publishes a port.
//!
//! Each provider is one file with one implementation of [`Provider`]; a new one does not compile until it answers every
//! question. Answers come from the environment, and with `DIRECT_ADDRESS_GET_WAN` from a file: nothing here uses the
//! network, because a resolver that does not answer must not delay a boot.

mod address;
mod allowed_hosts;
mod kubernetes;
mod local;
mod no_address;
mod paperspace;
mod published_port;
mod runpod;
mod salad;
mod site;
mod trusted_proxies;
mod vast;

use kit::Env;
use kit::settings::url_host;

pub use address::{Address, WAN_ADDRESS, address, address_for_visitor, tcp_address, web_url};
pub use allowed_hosts::{ALLOWED_HOSTS, allowed_hosts};
pub use no_address::NoAddress;
pub use published_port::port_problems;
pub use site::{Origin, Site};
pub use trusted_proxies::{IpNetwork, TRUSTED_PROXIES, network_of, trusted_proxies};

/// Networks of providers whose https proxy connects from inside their own network.
const PRIVATE_RANGES: &[&str] =
    &["10.0.0.0/8", "100.64.0.0/10", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7"];

/// Questions that every provider answers.
pub trait Provider {
    /// Returns the provider's name for display.
    fn name(&self) -> &'static str;

    /// Returns the variable with the name under which the provider's own pages list the container.
    fn label_variable(&self) -> Option<&'static str>;

    /// True if the user has no shell on the machine that runs the container.
    fn is_remote(&self) -> bool;

    /// Returns the place at which a port is reached from outside.
    fn publish(&self, site: &Site<'_>, port: u16) -> Result<Origin, NoAddress>;

    /// Returns the networks of the provider's http proxy, if it has one.
    fn proxies(&self) -> &'static [&'static str];
}

/// Variables by which providers are recognized, in order: their machines may be pods of Kubernetes.
const KNOWN: [(&str, &dyn Provider); 7] = [
    ("VAST_CONTAINERLABEL", &vast::Vast),
    ("CONTAINER_ID", &vast::Vast),
    ("RUNPOD_POD_ID", &runpod::RunPod),
    ("SALAD_MACHINE_ID", &salad::Salad),
    ("SALAD_CONTAINER_GROUP_ID", &salad::Salad),
    ("PAPERSPACE_FQDN", &paperspace::Paperspace),
    ("KUBERNETES_SERVICE_HOST", &kubernetes::Kubernetes),
];

/// Detects the provider by the variables it sets; without any, it is a local machine.
#[must_use]
pub fn detect(env: &Env) -> &'static dyn Provider {
    KNOWN
        .iter()
        .find(|(variable, _)| env.text(variable).is_some())
        .map_or(&local::Local, |&(_, provider)| provider)
}

/// Returns the name under which the provider's own pages list this container.
#[must_use]
pub fn container_label(env: &Env) -> Option<&str> {
    detect(env).label_variable().and_then(|variable| env.text(variable))
}

/// Returns the public names and addresses of this machine that the environment mentions.
#[must_use]
pub fn public_names(env: &Env) -> Vec<String> {
    let given =
        ["DIRECT_ADDRESS", "PUBLIC_IPADDR", "RUNPOD_PUBLIC_IP"].iter().filter_map(|name| env.text(name));
    given.filter_map(url_host).collect()
}

/// True if an answer can depend on this variable. None of them is a secret.
#[must_use]
pub fn is_relevant_variable(name: &str) -> bool {
    ["DIRECT_ADDRESS", "DIRECT_ADDRESS_GET_WAN", "PUBLIC_IPADDR", "RUNPOD_PUBLIC_IP"].contains(&name)
        || KNOWN.iter().any(|(variable, _)| *variable == name)
        || published_port::PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// Switch that makes our ports use https.
pub const HTTPS: &str = "WEB_ENABLE_HTTPS";

/// Returns the token with which vast.ai's button opens a service, as `?token=…`.
#[must_use]
pub fn one_click_token(env: &Env) -> Option<String> {
    env.text(ONE_CLICK_VARIABLE).map(str::to_owned)
}

/// Variable with vast.ai's one-click token. It is a secret, so only the portal gets it.
pub const ONE_CLICK_VARIABLE: &str = "OPEN_BUTTON_TOKEN";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_container_has_the_name_that_its_provider_shows() {
        let label = |pairs: &[(&str, &str)]| {
            let env: Env = pairs.iter().copied().collect();
            container_label(&env).map(str::to_owned)
        };
        assert_eq!(label(&[("VAST_CONTAINERLABEL", "C.17"), ("CONTAINER_ID", "17")]), Some("C.17".into()));
        assert_eq!(label(&[("RUNPOD_POD_ID", "abc")]), Some("abc".into()));
        assert_eq!(label(&[("CONTAINER_ID", "17")]), None, "the label is not set");
        assert_eq!(label(&[]), None);
    }

    #[test]
    fn public_names_are_hosts_and_nothing_else() {
        let env: Env = [
            ("DIRECT_ADDRESS", "lab.example"),
            ("PUBLIC_IPADDR", "x@evil/"),
            ("RUNPOD_PUBLIC_IP", "2001:db8::1"),
        ]
        .into_iter()
        .collect();
        assert_eq!(public_names(&env), ["lab.example", "[2001:db8::1]"]);
    }
}
