//! Outcome of a stage.

use journal::StageResult;

/// The result of a stage, as the journal gets it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageOutcome {
    /// Result of the stage.
    pub result: StageResult,
    /// Cause of a failure, or a remark on a success.
    pub cause: Option<String>,
    /// The cause with a program's output, for log readers only; `None` if there is no output.
    pub restricted_cause: Option<String>,
    /// Next step for the user.
    pub hint: Option<String>,
}

impl StageOutcome {
    /// Everything requested was done.
    pub fn done() -> Self {
        Self { result: StageResult::Done, cause: None, restricted_cause: None, hint: None }
    }

    /// Nothing was requested.
    pub fn skipped() -> Self {
        Self { result: StageResult::Skipped, cause: None, restricted_cause: None, hint: None }
    }

    /// Returns the first of the two that failed, otherwise this one.
    pub fn or_failure(self, other: Self) -> Self {
        let is_worse = other.result == StageResult::Failed && self.result != StageResult::Failed;
        if is_worse { other } else { self }
    }

    /// Something requested was not done.
    pub fn failed(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            result: StageResult::Failed,
            cause: Some(cause.into()),
            restricted_cause: None,
            hint: Some(hint.into()),
        }
    }
}
