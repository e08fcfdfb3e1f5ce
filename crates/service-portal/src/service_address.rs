//! Addresses of a service: direct, through the named tunnel, and through its quick tunnel.

use serde::Deserialize;
use tunnels::{Kind, State};

use crate::origins::Origins;

/// A way to reach a service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Route {
    /// The port that the provider or the user publishes.
    Direct,
    /// A hostname of the named tunnel.
    Named,
    Quick,
}

impl Route {
    /// Returns the word in URLs.
    pub fn name(self) -> &'static str {
        match self {
            Self::Direct => "direct",
            Self::Named => "named",
            Self::Quick => "quick",
        }
    }

    pub fn label(self) -> &'static str {
        match self {
            Self::Direct => "Direct",
            Self::Named => "Tunnel",
            Self::Quick => "Quick tunnel",
        }
    }
}

/// One address, or the reason why there is none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServiceAddress {
    /// Way to the service.
    pub route: Route,
    /// URL of the service; `None` if it cannot be reached this way.
    pub url: Option<String>,
    /// Reason for that.
    pub note: String,
}

impl ServiceAddress {
    /// Removes the reason for a page that a service can read.
    pub fn hide_reason(&mut self) {
        if self.url.is_none() {
            "is not open".clone_into(&mut self.note);
        }
    }

    /// Returns the URL without its scheme and the slash at its end, as people write it.
    pub fn short(&self) -> &str {
        let url = self.url.as_deref().unwrap_or_default();
        url.split_once("://").map_or(url, |(_, rest)| rest).trim_end_matches('/')
    }
}

/// Returns all addresses of a public port and path. A tunnel that is neither open nor wanted is left out.
pub fn addresses(origins: &Origins<'_>, port: u16, path: &str) -> Vec<ServiceAddress> {
    let direct = origins.direct(port).map(|origin| origin + path);
    let note = if direct.is_none() { format!("port {port} is not published") } else { String::new() };
    let mut found = vec![ServiceAddress { route: Route::Direct, url: direct, note }];
    for (route, kind) in [(Route::Named, Kind::Named), (Route::Quick, Kind::Quick)] {
        let Some(tunnel) = origins.tunnels().tunnel(kind, port) else { continue };
        let url = tunnel.url.as_ref().filter(|_| tunnel.state == State::Open);
        let note = match (tunnel.state, tunnel.cause) {
            (State::Open, _) => String::new(),
            (State::Opening, _) => "is being opened".to_owned(),
            (_, Some(cause)) => cause.message(kind, tunnel.detail.as_deref()),
            (_, None) => "is not open".to_owned(),
        };
        found.push(ServiceAddress { route, url: url.map(|origin| format!("{origin}{path}")), note });
    }
    found
}
