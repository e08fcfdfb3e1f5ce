//! Secrets that are never printed and are compared in constant time.

use std::fmt;

use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

/// A password or token: never empty, never printed, compared in constant time.
#[derive(Clone)]
pub struct Secret(String);

impl Secret {
    /// Returns a secret; an empty one is refused, because it would match everything.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Option<Self> {
        let text = text.into();
        if text.is_empty() { None } else { Some(Self(text)) }
    }

    /// Returns the text, for the one place that passes it on.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }

    /// True if `candidate` is this secret. The time it takes reveals neither content nor length.
    #[must_use]
    pub fn matches(&self, candidate: &[u8]) -> bool {
        let own = Sha256::digest(self.0.as_bytes());
        let other = Sha256::digest(candidate);
        own.as_slice().ct_eq(other.as_slice()).into()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Secret(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_whole_secret_matches() {
        let secret = Secret::new("ab*").unwrap();
        assert!(secret.matches(b"ab*"));
        for wrong in ["", "ab", "abc", "ab**", "AB*", " ab*"] {
            assert!(!secret.matches(wrong.as_bytes()), "{wrong:?}");
        }
    }

    #[test]
    fn an_empty_secret_cannot_exist() {
        assert!(Secret::new("").is_none());
    }

    #[test]
    fn debug_output_shows_nothing() {
        assert_eq!(format!("{:?}", Secret::new("hunter2").unwrap()), "Secret(…)");
    }
}
