//! Error about a request that names no variant or several, with candidates.

use std::fmt;

use kit::{HintExt, UsageError};

/// Maximum number of candidates in a message.
const MAX_LISTED: usize = 12;

/// A request that names no variant, or more than one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RequestError {
    /// It cannot be parsed.
    Usage {
        /// The request.
        request: String,
        /// The cause.
        reason: String,
    },
    /// No listed variant matches.
    Unknown {
        /// The request.
        request: String,
        /// The part that does not exist.
        reason: String,
        /// Tags that differ only in that part; may be empty.
        candidates: Vec<String>,
    },
    /// Several listed variants match.
    Ambiguous {
        /// The request.
        request: String,
        /// All that fit.
        candidates: Vec<String>,
    },
}

impl fmt::Display for RequestError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Usage { request, reason } => write!(formatter, "{request:?} is not a variant: {reason}"),
            Self::Unknown { request, reason, .. } => write!(formatter, "no variant {request:?}: {reason}"),
            Self::Ambiguous { request, .. } => write!(formatter, "{request:?} is ambiguous"),
        }
    }
}

impl std::error::Error for RequestError {}

impl RequestError {
    /// Returns the hint: candidates, or the command that lists all variants.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::Unknown { candidates, .. } if !candidates.is_empty() => {
                format!("there is {}", some(candidates))
            }
            Self::Ambiguous { candidates, .. } => format!("choose one of: {}", some(candidates)),
            _ => "run: cargo xtask bake --list".to_owned(),
        }
    }
}

/// Converts the error for a user: exit code 2 if a request cannot be parsed, 1 if nothing matches.
pub fn into_anyhow<T>(answer: Result<T, RequestError>) -> anyhow::Result<T> {
    match answer {
        Ok(answer) => Ok(answer),
        Err(refusal @ RequestError::Usage { .. }) => Err(UsageError(refusal.to_string()).into()),
        Err(refusal) => {
            let hint = refusal.hint();
            Err(refusal).hint(|| hint)
        }
    }
}

fn some(candidates: &[String]) -> String {
    let shown = candidates[..candidates.len().min(MAX_LISTED)].join(", ");
    match candidates.len().saturating_sub(MAX_LISTED) {
        0 => shown,
        more => format!("{shown} and {more} more (cargo xtask bake --list)"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_cannot_be_read_is_a_usage_error() {
        let (request, reason) = ("-x".to_owned(), "it begins with a dash".to_owned());
        let unread = RequestError::Usage { request: request.clone(), reason: reason.clone() };
        let error = into_anyhow::<()>(Err(unread)).unwrap_err();
        assert!(error.is::<UsageError>());
        assert_eq!(error.to_string(), "\"-x\" is not a variant: it begins with a dash");
        let unknown = RequestError::Unknown { request, reason, candidates: vec![] };
        assert!(!into_anyhow::<()>(Err(unknown)).unwrap_err().is::<UsageError>());
    }

    #[test]
    fn a_long_list_is_cut_with_a_count() {
        let candidates: Vec<String> = (1..=14).map(|number| format!("v{number}")).collect();
        assert_eq!(
            RequestError::Ambiguous { request: "v".to_owned(), candidates }.hint(),
            "choose one of: v1, v2, v3, v4, v5, v6, v7, v8, v9, v10, v11, v12 and 2 more (cargo xtask bake --list)"
        );
    }
}
