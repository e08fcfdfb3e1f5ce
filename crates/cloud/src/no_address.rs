//! The reason why a port has no address.

use std::fmt;

/// Reason why a port has no address, as a phrase for the user.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoAddress {
    reason: String,
    hint: Option<&'static str>,
}

impl NoAddress {
    /// Creates the reason.
    pub fn new(reason: impl Into<String>) -> Self {
        Self { reason: reason.into(), hint: None }
    }

    /// Adds the next step.
    #[must_use]
    pub fn with_hint(self, hint: &'static str) -> Self {
        Self { hint: Some(hint), ..self }
    }

    /// Returns the next step, if there is one.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        self.hint
    }
}

impl fmt::Display for NoAddress {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.reason)
    }
}

impl std::error::Error for NoAddress {}
