//! Why a script could not be had, and what to do about it.

/// A script that could not be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, naming the address or the setting.
    pub cause: String,
    /// What the user can do.
    pub hint: String,
    /// Whether nothing came back at all, so that nothing is known about the script either.
    pub unreachable: bool,
}

impl Failure {
    /// Something is wrong with what was asked for or with what came back.
    pub fn new(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { cause: cause.into(), hint: hint.into(), unreachable: false }
    }

    /// Something of the container's own does not work.
    pub fn internal(error: &anyhow::Error) -> Self {
        let hint = kit::exit::hint(error).unwrap_or_else(|| {
            "check for a full disk: df -h; then run: supervisorctl restart boot".to_owned()
        });
        Self::new(format!("{error:#}"), hint)
    }

    /// The record of the last run cannot be read, so the script may already have run.
    pub fn unreadable_record(error: &anyhow::Error) -> Self {
        Self::new(
            format!("{error:#}; the script may already have run successfully, so it is not run"),
            "to run it anyway: sudo provision run --force",
        )
    }

    /// The script could not be reached.
    pub fn unreachable(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { unreachable: true, ..Self::new(cause, hint) }
    }
}
