//! Environment variables as values, so that tests need not change those of the process.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};

use crate::invisible;

/// A snapshot of environment variables, exactly as they were given.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Env(BTreeMap<OsString, OsString>);

impl Env {
    /// Returns the environment of this process.
    #[must_use]
    pub fn from_process() -> Self {
        Self(std::env::vars_os().collect())
    }

    /// Returns the exact bytes of a variable.
    #[must_use]
    pub fn get(&self, name: impl AsRef<OsStr>) -> Option<&OsStr> {
        self.0.get(name.as_ref()).map(OsString::as_os_str)
    }

    /// Returns a variable as text without blanks and quotes around it; `None` if it is unset or nothing is left.
    #[must_use]
    pub fn text(&self, name: &str) -> Option<&str> {
        self.get(name)?
            .to_str()
            .map(|text| invisible::strip_invisible(text).0)
            .filter(|text| !text.is_empty())
    }

    /// Sets a variable, and replaces an earlier value.
    pub fn set(&mut self, name: impl Into<OsString>, value: impl Into<OsString>) {
        self.0.insert(name.into(), value.into());
    }

    /// Removes a variable.
    pub fn unset(&mut self, name: impl AsRef<OsStr>) {
        self.0.remove(name.as_ref());
    }

    /// Returns all variables in the order of their names.
    pub fn iter(&self) -> impl Iterator<Item = (&OsStr, &OsStr)> {
        self.0.iter().map(|(name, value)| (name.as_os_str(), value.as_os_str()))
    }
}

impl<N: Into<OsString>, V: Into<OsString>> FromIterator<(N, V)> for Env {
    fn from_iter<I: IntoIterator<Item = (N, V)>>(pairs: I) -> Self {
        Self(pairs.into_iter().map(|(name, value)| (name.into(), value.into())).collect())
    }
}
