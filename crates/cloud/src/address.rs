//! The address of a port, for commands in the container and for visitors of the portal.

use std::net::IpAddr;
use std::path::Path;

use kit::{Env, ReadPolicy, SettingsReader, variables};

use crate::{NoAddress, Origin, Site, detect};

/// File with the public address of this machine, which `direct-url --find-wan` writes.
pub const WAN_ADDRESS: &str = "/run/leonardo/wan_address";

/// Maximum size of that file in bytes.
const MAX_BYTES: u64 = 64;

/// Address of a port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    /// The address as `scheme://host[:port]`.
    pub url: String,
    /// True if neither the provider nor the user states the host or the number, so that both may differ outside.
    pub is_assumed: bool,
}

/// Returns the address at which a port is reached from outside, or the reason why there is none.
pub fn address(env: &Env, port: u16) -> Result<Address, NoAddress> {
    address_with(env, wan_address(), port)
}

/// Returns the URL of a port for a visitor; `None` if it is not published. Where the host is unknown, it is the visitor's
/// own, `host`. `keeps_numbers` if the visitor reaches ports under their numbers in the container, as through an SSH tunnel.
#[must_use]
pub fn address_for_visitor(env: &Env, port: u16, host: Option<&str>, keeps_numbers: bool) -> Option<String> {
    match publish(env, wan_address(), port).ok()? {
        Origin::Tcp { host: None, port: number } => {
            Some(web_url(env, host?, number.filter(|_| !keeps_numbers).unwrap_or(port)))
        }
        Origin::Tcp { host: Some(host), port: number } => Some(web_url(env, &host, number.unwrap_or(port))),
        Origin::Proxy(host) => Some(format!("https://{host}")),
    }
}

/// Returns host and number at which a port accepts TCP connections from outside; `None` unless the number is stated.
#[must_use]
pub fn tcp_address(env: &Env, port: u16) -> Option<(String, u16)> {
    match publish(env, wan_address(), port) {
        Ok(Origin::Tcp { host, port: Some(number) }) => Some((host.unwrap_or_else(localhost), number)),
        _ => None,
    }
}

fn address_with(env: &Env, wan: Option<IpAddr>, port: u16) -> Result<Address, NoAddress> {
    let provider = detect(env);
    Ok(match publish(env, wan, port)? {
        Origin::Tcp { host: None, .. } if provider.is_remote() => {
            let reason = format!("{} does not pass its address to a container", provider.name());
            return Err(NoAddress::new(reason).with_hint("set DIRECT_ADDRESS"));
        }
        Origin::Tcp { host, port: number } => {
            let is_assumed = host.is_none() && number.is_none();
            let host = host.unwrap_or_else(localhost);
            Address { url: web_url(env, &host, number.unwrap_or(port)), is_assumed }
        }
        Origin::Proxy(host) => Address { url: format!("https://{host}"), is_assumed: false },
    })
}

fn publish(env: &Env, wan: Option<IpAddr>, port: u16) -> Result<Origin, NoAddress> {
    let provider = detect(env);
    provider.publish(&Site::new(env, provider, wan), port)
}

fn localhost() -> String {
    "localhost".to_owned()
}

/// Returns the URL of one of our ports, with https if the port uses it: a link's secret must not be sent in plain text first.
#[must_use]
pub fn web_url(env: &Env, host: &str, port: u16) -> String {
    let https = SettingsReader::new(env).switch(&variables::WEB_ENABLE_HTTPS);
    format!("{}://{host}:{port}", if https { "https" } else { "http" })
}

/// Returns the address that was found.
fn wan_address() -> Option<IpAddr> {
    let content = ReadPolicy::max_size(MAX_BYTES).read_if_exists(Path::new(WAN_ADDRESS)).ok()??;
    str::from_utf8(&content).ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const WAN: &str = "198.51.100.4";

    fn env(settings: &str) -> Env {
        let pairs = settings.split('|').filter_map(|pair| pair.split_once('='));
        pairs
            .inspect(|(name, _)| assert!(crate::is_relevant_variable(name) || *name == crate::HTTPS))
            .collect()
    }

    /// Returns the address, with `?` behind it if it is assumed, or the reason with `!` before it.
    fn shown(settings: &str, port: u16) -> String {
        match address_with(&env(settings), WAN.parse().ok(), port) {
            Ok(Address { url, is_assumed: false }) => url,
            Ok(Address { url, is_assumed: true }) => url + "?",
            Err(reason) => format!("!{reason}"),
        }
    }

    const VAST: &str = "VAST_CONTAINERLABEL=C.1|PUBLIC_IPADDR=192.0.2.9|VAST_TCP_PORT_8188=41188";
    const POD: &str = "RUNPOD_POD_ID=abc123";
    const POD_TCP: &str = "RUNPOD_POD_ID=abc123|RUNPOD_PUBLIC_IP=192.0.2.7|RUNPOD_TCP_PORT_8188=10188";
    const SALAD: &str = "SALAD_MACHINE_ID=m";
    const PAPERSPACE: &str = "PAPERSPACE_FQDN=n1.paperspace.example";
    const KUBERNETES: &str = "KUBERNETES_SERVICE_HOST=10.0.0.1";
    const ANY: &str = "DIRECT_ADDRESS=lab.example";
    const HTTPS: &str = "WEB_ENABLE_HTTPS=true";
    const GET_WAN: &str = "DIRECT_ADDRESS_GET_WAN=true";
    const MAPPED: &str = "MAPPED_TCP_PORT_8188=28188";
    const VAST_3000: &str = "!vast.ai does not publish port 3000: VAST_TCP_PORT_3000 is not set";
    const SALAD_PORT: &str = "!Salad publishes one port; this image expects that to be 1111";

    /// Settings, port and address.
    const TABLE: &[(&[&str], u16, &str)] = &[
        // vast.ai
        (&[VAST], 8188, "http://192.0.2.9:41188"),
        (
            &["CONTAINER_ID=7|PUBLIC_IPADDR=192.0.2.9|VAST_TCP_PORT_1111=41111"],
            1111,
            "http://192.0.2.9:41111",
        ),
        (&[VAST, HTTPS], 8188, "https://192.0.2.9:41188"),
        (&[VAST], 3000, VAST_3000),
        (&[VAST, MAPPED, "MAPPED_TCP_PORT_3000=1"], 3000, VAST_3000),
        (&[VAST, "VAST_TCP_PORT_70000=41234"], 41234, "http://192.0.2.9:41234"),
        (
            &[VAST, "VAST_TCP_PORT_69999=41234"],
            41234,
            "!vast.ai does not publish port 41234: VAST_TCP_PORT_41234 is not set",
        ),
        (&[VAST, ANY], 8188, "http://lab.example:41188"),
        (&[VAST, "DIRECT_ADDRESS=localhost"], 8188, "http://192.0.2.9:41188"),
        (&[VAST, "DIRECT_ADDRESS=127.0.0.1"], 8188, "http://192.0.2.9:41188"),
        (&[VAST, "DIRECT_ADDRESS=::1"], 8188, "http://192.0.2.9:41188"),
        (&[VAST, GET_WAN], 8188, "http://198.51.100.4:41188"),
        (&[VAST, GET_WAN, ANY], 8188, "http://lab.example:41188"),
        (&["CONTAINER_ID=7|VAST_TCP_PORT_8188=41188"], 8188, "!PUBLIC_IPADDR is not set"),
        (
            &["CONTAINER_ID=7|VAST_TCP_PORT_8188=41188|PUBLIC_IPADDR=x@evil/"],
            8188,
            "!PUBLIC_IPADDR: \"x@evil/\" is not a host",
        ),
        (
            &["CONTAINER_ID=7|VAST_TCP_PORT_8188=41188|PUBLIC_IPADDR=2001:db8::9"],
            8188,
            "http://[2001:db8::9]:41188",
        ),
        // runpod.io
        (&[POD], 8188, "https://abc123-8188.proxy.runpod.net"),
        (&[POD, HTTPS], 8188, "https://abc123-8188.proxy.runpod.net"),
        (&[POD, ANY], 8188, "https://abc123-8188.proxy.runpod.net"),
        (&[POD, GET_WAN], 8188, "https://abc123-8188.proxy.runpod.net"),
        (&[POD_TCP], 8188, "http://192.0.2.7:10188"),
        (&[POD_TCP, HTTPS], 8188, "https://192.0.2.7:10188"),
        (&[POD_TCP, ANY], 8188, "http://lab.example:10188"),
        (&[POD_TCP, GET_WAN], 8188, "http://192.0.2.7:10188"),
        (&[POD_TCP], 1111, "https://abc123-1111.proxy.runpod.net"),
        (&[POD_TCP, "RUNPOD_TCP_PORT_70001=10999"], 10999, "http://192.0.2.7:10999"),
        (&[POD, "RUNPOD_TCP_PORT_8188=10188"], 8188, "https://abc123-8188.proxy.runpod.net"),
        (&["RUNPOD_POD_ID=x@evil/"], 8188, "!RUNPOD_POD_ID is not the id of a pod"),
        // Salad
        (&[SALAD], 1111, "!Salad does not pass its address to a container"),
        (&[SALAD, ANY], 1111, "https://lab.example"),
        (&["SALAD_CONTAINER_GROUP_ID=g", ANY, HTTPS], 1111, "https://lab.example"),
        (&[SALAD, "DIRECT_ADDRESS=localhost"], 1111, "!Salad does not pass its address to a container"),
        (&[SALAD, GET_WAN], 1111, "!Salad does not pass its address to a container"),
        (&[SALAD, ANY, MAPPED], 8188, SALAD_PORT),
        // Paperspace
        (&[PAPERSPACE], 8888, "https://n1.paperspace.example"),
        (&[PAPERSPACE, ANY], 8888, "https://lab.example"),
        (&[PAPERSPACE, ANY, MAPPED], 8188, "!Paperspace publishes port 8888 only"),
        (&["PAPERSPACE_FQDN=a b"], 8888, "!PAPERSPACE_FQDN: \"a b\" is not a host"),
        // Kubernetes
        (&[KUBERNETES], 8188, "!Kubernetes does not pass its address to a container"),
        (&[KUBERNETES, MAPPED, GET_WAN], 8188, "!Kubernetes does not pass its address to a container"),
        (&[KUBERNETES, ANY], 8188, "http://lab.example:8188"),
        (&[KUBERNETES, ANY, MAPPED], 8188, "http://lab.example:28188"),
        (&[KUBERNETES, VAST], 8188, "http://192.0.2.9:41188"),
        // A local machine
        (&[], 8188, "http://localhost:8188?"),
        (&[HTTPS], 8188, "https://localhost:8188?"),
        (&[MAPPED], 8188, "http://localhost:28188"),
        (&[MAPPED], 8189, "http://localhost:8189?"),
        (&["MAPPED_TCP_PORT_8188=127.0.0.1:28188"], 8188, "http://localhost:28188"),
        (&["MAPPED_TCP_PORT_8188=[::1]:28188"], 8188, "http://localhost:28188"),
        (&["MAPPED_TCP_PORT_8188_TCP=tcp://10.0.0.1:1|MAPPED_TCP_PORT_x=1"], 8188, "http://localhost:8188?"),
        (&[ANY], 8188, "http://lab.example:8188"),
        (&[ANY, MAPPED, GET_WAN], 8188, "http://lab.example:28188"),
        (&["DIRECT_ADDRESS=localhost"], 8188, "http://localhost:8188"),
        (&["DIRECT_ADDRESS=2001:db8::7"], 8188, "http://[2001:db8::7]:8188"),
        (&[GET_WAN], 8188, "http://198.51.100.4:8188"),
        (&["DIRECT_ADDRESS_GET_WAN=ture"], 8188, "http://localhost:8188?"),
    ];

    #[test]
    fn each_provider_publishes_ports_its_own_way() {
        for (settings, port, expected) in TABLE {
            assert_eq!(shown(&settings.join("|"), *port), *expected, "{settings:?} {port}");
        }
    }

    #[test]
    fn a_host_or_a_number_that_is_none_is_reported_and_never_part_of_an_address() {
        let not_a_port = |name: &str, value: &str| {
            format!("!{name}: {value:?} is not a port (1 to 65535); the port has no link")
        };
        let long = "a".repeat(254);
        for hostile in
            ["x@evil/", "a b", "http://lab/", "lab:80", "lab\n.evil", "$(id)", "fe80::1%eth0", &long]
        {
            assert_eq!(
                shown(&format!("DIRECT_ADDRESS={hostile}"), 8188),
                "http://localhost:8188?",
                "{hostile:?}"
            );
        }
        for value in ["$(id)", "0", "65536", "\u{662}\u{662}", "+22", "-1", "tcp://x:", "1 2"] {
            for (provider, prefix) in
                [(VAST, "VAST"), (POD_TCP, "RUNPOD"), (KUBERNETES, "MAPPED"), ("", "MAPPED")]
            {
                let name = format!("{prefix}_TCP_PORT_1111");
                let settings = format!("{provider}|{name}={value}");
                assert_eq!(shown(&settings, 1111), not_a_port(&name, value));
                let reported: Vec<_> = crate::port_problems(&env(&settings))
                    .iter()
                    .map(|problem| format!("!{problem}"))
                    .collect();
                assert_eq!(reported, [not_a_port(&name, value)]);
            }
        }
        assert_eq!(crate::port_problems(&env(VAST)), []);
    }

    #[test]
    fn where_the_host_is_unknown_a_visitor_keeps_his_own() {
        let url = |settings: &str, keeps_numbers: bool| {
            address_for_visitor(&env(settings), 8188, Some("gpu.lan"), keeps_numbers)
        };
        let mapped = "MAPPED_TCP_PORT_8188=28188";
        for (settings, through_tunnel, published) in [
            ("", Some("http://gpu.lan:8188"), Some("http://gpu.lan:8188")),
            ("WEB_ENABLE_HTTPS=true", Some("https://gpu.lan:8188"), Some("https://gpu.lan:8188")),
            (mapped, Some("http://gpu.lan:8188"), Some("http://gpu.lan:28188")),
            ("KUBERNETES_SERVICE_HOST=10.0.0.1", Some("http://gpu.lan:8188"), Some("http://gpu.lan:8188")),
            ("DIRECT_ADDRESS=h|MAPPED_TCP_PORT_8188=2", Some("http://h:2"), Some("http://h:2")),
            ("CONTAINER_ID=7", None, None),
        ] {
            assert_eq!(url(settings, true).as_deref(), through_tunnel, "{settings}");
            assert_eq!(url(settings, false).as_deref(), published, "{settings}");
        }
        assert_eq!(address_for_visitor(&env(""), 8188, None, true), None);
    }

    #[test]
    fn a_tcp_address_has_a_number_that_was_stated() {
        let tcp = |settings: &str| tcp_address(&env(settings), 22);
        assert_eq!(tcp("MAPPED_TCP_PORT_22=2222"), Some(("localhost".into(), 2222)));
        assert_eq!(tcp("DIRECT_ADDRESS=lab|MAPPED_TCP_PORT_22=2222"), Some(("lab".into(), 2222)));
        assert_eq!(tcp("DIRECT_ADDRESS=lab"), None);
        assert_eq!(tcp("RUNPOD_POD_ID=abc"), None, "behind the https proxy");
        let pod = "RUNPOD_POD_ID=abc|RUNPOD_PUBLIC_IP=192.0.2.7|RUNPOD_TCP_PORT_22=10022";
        assert_eq!(tcp(pod), Some(("192.0.2.7".into(), 10022)));
    }
}
