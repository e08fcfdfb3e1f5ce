//! URL at which a public port of this container is reached from outside.

use kit::Env;

/// Origin of a public port, with its reliability.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PublicOrigin {
    /// Stated by the provider or the user.
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

/// Returns the origin at which a public port is reached.
#[must_use]
pub fn public_origin(env: &Env, port: u16) -> PublicOrigin {
    match cloud::address(env, port) {
        Ok(address) if !address.is_assumed => PublicOrigin::Known(address.url),
        _ => PublicOrigin::Guessed(cloud::web_url(env, "localhost", port)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_or_a_mapped_port_states_the_origin_and_localhost_is_a_guess() {
        let mapped: Env = [("MAPPED_TCP_PORT_1111", "127.0.0.1:1112")].into_iter().collect();
        assert_eq!(public_origin(&mapped, 1111), PublicOrigin::Known("http://localhost:1112".into()));
        let pod: Env = [("RUNPOD_POD_ID", "abc")].into_iter().collect();
        assert_eq!(
            public_origin(&pod, 1111),
            PublicOrigin::Known("https://abc-1111.proxy.runpod.net".into())
        );
        assert_eq!(
            public_origin(&Env::default(), 1111),
            PublicOrigin::Guessed("http://localhost:1111".into())
        );
    }
}
