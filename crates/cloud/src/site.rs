//! The hosts that the environment gives, and the origin of a port.

use std::net::IpAddr;

use kit::settings::url_host;
use kit::{Env, SettingsReader, variables};

use crate::{NoAddress, Provider};

/// Environment of the container, with the hosts that the user chose for links.
#[derive(Debug)]
pub struct Site<'a> {
    /// The environment.
    pub env: &'a Env,
    /// `DIRECT_ADDRESS`, if it is a host. On a provider, one of loopback does not count: forms are filled with the default.
    pub direct: Option<String>,
    /// The public address that was found, with `DIRECT_ADDRESS_GET_WAN=true`.
    pub wan: Option<String>,
}

impl<'a> Site<'a> {
    /// Reads the hosts; `wan` is the address that was found, if any.
    pub fn new(env: &'a Env, provider: &dyn Provider, wan: Option<IpAddr>) -> Self {
        let mut reader = SettingsReader::new(env);
        let direct = reader.host(&variables::DIRECT_ADDRESS);
        let wan = wan.filter(|_| reader.switch(&variables::DIRECT_ADDRESS_GET_WAN));
        Self {
            env,
            direct: direct.filter(|host| !provider.is_remote() || !is_loopback(host)),
            wan: wan.and_then(|address| url_host(&address.to_string())),
        }
    }

    /// Returns the host of a provider's variable. Fails if it is unset or not a host.
    pub fn host_of(&self, variable: &str) -> Result<String, NoAddress> {
        let value =
            self.env.text(variable).ok_or_else(|| NoAddress::new(format!("{variable} is not set")))?;
        url_host(value).ok_or_else(|| NoAddress::new(format!("{variable}: {value:?} is not a host")))
    }
}

fn is_loopback(host: &str) -> bool {
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    host.eq_ignore_ascii_case("localhost") || bare.parse().is_ok_and(|address: IpAddr| address.is_loopback())
}

/// Place at which a port is reached.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// The port itself, under a number of its own.
    Tcp {
        /// Host as a URL contains it; `None` if it is unknown.
        host: Option<String>,
        /// Number of the port outside; `None` if it is unknown.
        port: Option<u16>,
    },
    /// An https proxy, by the name under which it serves the port.
    Proxy(String),
}
