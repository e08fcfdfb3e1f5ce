//! Where a link made inside the container leads from outside.

use kit::Env;

/// The origin of a public port, and how sure we are of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// The provider or the user says so.
    Known(String),
    /// A container cannot know how its host publishes a port, so this is its own idea of it.
    Guessed(String),
}

impl Address {
    /// The origin, as `scheme://host:port`.
    #[must_use]
    pub fn origin(&self) -> &str {
        match self {
            Self::Known(origin) | Self::Guessed(origin) => origin,
        }
    }
}

/// The origin at which a public port is reached.
#[must_use]
pub fn address(env: &Env, port: u16) -> Address {
    match cloud::detect(env).address(env, port) {
        Some(origin) => Address::Known(cloud::with_https(env, origin)),
        None => Address::Guessed(cloud::with_https(env, format!("http://localhost:{port}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_provider_is_believed_and_everything_else_is_a_guess() {
        let pod: Env = [("RUNPOD_POD_ID", "abc")].into_iter().collect();
        assert_eq!(address(&pod, 1111), Address::Known("https://abc-1111.proxy.runpod.net".into()));
        assert_eq!(address(&Env::default(), 1111), Address::Guessed("http://localhost:1111".into()));
    }
}
