//! How a stage ended.

use journal::StageResult;

/// What the journal is told about a stage.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StageOutcome {
    /// How it ended.
    pub result: StageResult,
    /// Why, unless it simply went well.
    pub cause: Option<String>,
    /// The same with what somebody's program printed, which is for those who may read logs; nothing if that is no more.
    pub restricted_cause: Option<String>,
    /// What the user can do.
    pub hint: Option<String>,
}

impl StageOutcome {
    /// Everything asked for was done.
    pub fn done() -> Self {
        Self { result: StageResult::Done, cause: None, restricted_cause: None, hint: None }
    }

    /// Nothing was asked for.
    pub fn skipped() -> Self {
        Self { result: StageResult::Skipped, cause: None, restricted_cause: None, hint: None }
    }

    /// Returns the first of the two that failed, or else this one.
    pub fn or_failure(self, other: Self) -> Self {
        let is_worse = other.result == StageResult::Failed && self.result != StageResult::Failed;
        if is_worse { other } else { self }
    }

    /// Something asked for was not done.
    pub fn failed(cause: impl Into<String>, hint: impl Into<String>) -> Self {
        Self {
            result: StageResult::Failed,
            cause: Some(cause.into()),
            restricted_cause: None,
            hint: Some(hint.into()),
        }
    }
}
