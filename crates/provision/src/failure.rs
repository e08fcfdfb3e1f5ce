//! Failures, each with a hint.

/// Reason for which a script was not fetched, not run, or failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// The problem, with the address or setting.
    pub cause: String,
    /// Advice to the user.
    pub hint: String,
    /// True if no answer came, so that nothing is known about the script.
    pub unreachable: bool,
}

impl Failure {
    /// A problem of the setting or of the answer.
    pub fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into(), unreachable: false }
    }

    /// A problem inside the container.
    pub fn internal(error: &anyhow::Error) -> Self {
        let hint = kit::exit::hint(error).unwrap_or_else(|| {
            "check for a full disk: df -h; then run: supervisorctl restart boot".to_owned()
        });
        Self::new(format!("{error:#}"), hint)
    }

    /// The record of the last run cannot be read, so the script may already have run.
    pub fn unreadable_record(error: &anyhow::Error) -> Self {
        Self::new(
            format!("{error:#}; not running the script, because it may already have run successfully"),
            "to run it anyway: sudo provision run --force",
        )
    }

    /// A host that cannot be reached, or does not return the script.
    pub fn unreachable(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { unreachable: true, ..Self::new(cause, hint) }
    }
}
