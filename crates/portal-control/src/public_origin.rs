//! URL at which a public port of this container is reached from outside.

use std::path::Path;

use kit::Env;
use tunnels::Tunnels;

/// Origin of a public port, with its reliability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicOrigin {
    /// Stated by the provider or the user, or the address of an open tunnel.
    Known(String),
    /// Assumed: a container cannot know how its host publishes a port.
    Guessed(String),
}

impl PublicOrigin {
    /// Returns the origin as `scheme://host:port`.
    #[must_use]
    pub fn url(&self) -> &str {
        match self {
            Self::Known(origin) | Self::Guessed(origin) => origin,
        }
    }
}

/// Returns the origin at which a public port is reached: a stated one comes before a tunnel.
#[must_use]
pub fn public_origin(env: &Env, port: u16) -> PublicOrigin {
    origin_with(env, &Tunnels::read(Path::new(tunnels::DIRECTORY)), port)
}

fn origin_with(env: &Env, tunnels: &Tunnels, port: u16) -> PublicOrigin {
    match (cloud::address(env, port), tunnels.url(port)) {
        (Ok(address), _) if !address.is_assumed => PublicOrigin::Known(address.url),
        (_, Some(tunnel)) => PublicOrigin::Known(tunnel.to_owned()),
        _ => PublicOrigin::Guessed(cloud::web_url(env, "localhost", port)),
    }
}

#[cfg(test)]
mod tests {
    use tunnels::{Kind, State, Status, Tunnel};

    use super::*;

    #[test]
    fn a_stated_origin_comes_before_a_tunnel_and_localhost_is_a_guess() {
        let directory = tempfile::tempdir().unwrap();
        let tunnel = Tunnel {
            port: 1111,
            state: State::Open,
            url: Some("https://a-b.trycloudflare.com".into()),
            cause: None,
            detail: None,
            retry_at: None,
        };
        Status { tunnels: vec![tunnel], ..Status::default() }.write(Kind::Quick, directory.path()).unwrap();
        let tunnels = Tunnels::read(directory.path());
        let origin = |variable: (&str, &str), tunnels: &Tunnels| {
            origin_with(&[variable].into_iter().collect(), tunnels, 1111)
        };
        let known = |url: &str| PublicOrigin::Known(url.to_owned());
        for tunnels in [&Tunnels::default(), &tunnels] {
            let mapped = origin(("MAPPED_TCP_PORT_1111", "127.0.0.1:1112"), tunnels);
            assert_eq!(mapped, known("http://localhost:1112"));
            let pod = origin(("RUNPOD_POD_ID", "abc"), tunnels);
            assert_eq!(pod, known("https://abc-1111.proxy.runpod.net"));
        }
        for (unpublished, guess) in [("CONTAINER_ID", "http"), ("WEB_ENABLE_HTTPS", "https")] {
            let variable = (unpublished, "true");
            assert_eq!(origin(variable, &tunnels), known("https://a-b.trycloudflare.com"));
            let guess = PublicOrigin::Guessed(format!("{guess}://localhost:1111"));
            assert_eq!(origin(variable, &Tunnels::default()), guess);
        }
    }
}
